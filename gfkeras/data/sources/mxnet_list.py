"""Images from the `.lst` files of MXNet and InsightFace."""

from collections.abc import Iterator

from gfkeras import text_lists
from gfkeras.data.sources import listing
from gfkeras.data.sources.source import Item, ListSource, Refused
from gfkeras.files import PathLike


class MXNetListSource(ListSource):
    """Images of a `.lst` file, the list from which `im2rec` makes a `.rec` file.

    The fields are separated by tabs. MXNet's lines are "number, label, …, path", and the first
    label counts. InsightFace's lines are "flag, path, label, …", and a box and points can follow. A
    label is a whole number of at least 0, such as 7 or 7.000000. Lines are read one at a time. As
    in `ImageListSource`, a path that leaves the root is refused.

    Args:
        file: the list, as `gfkeras.text_lists.lines` reads it.
        root: the folder to which the paths are relative. The default is the folder of the list.

    Raises:
        ValueError: with file and line, for a missing file or root and a malformed line.

    Example:
        next(MXNetListSource("train.lst", root="images").items()).identity      # "0"
    """

    format = "lst"

    def __init__(self, file: PathLike, root: PathLike | None = None):
        self.file = self.path = listing.existing_file("file", file, "a list of images, .lst")
        self.root = listing.existing_folder(
            "root", self.file.parent if root is None else root, "the images of the list"
        )
        # Read the first line now, so that a wrong file fails before any work is done.
        next(self.items(), None)

    def items(self) -> Iterator[Item | Refused]:
        """Yields the images in the order of the list. The locator is the path under the root."""
        for line, text in text_lists.lines(self.file):
            fields = text_lists.fields(text)
            path, label = self._path_and_label(line, text, fields)
            identity = text_lists.label_name(label)
            if identity is None or not identity.isdigit():
                expected = "a label that is a whole number of at least 0"
                raise text_lists.malformed(self.file, line, expected, label)
            yield self.listed(listing.posix(path), identity)

    def _path_and_label(self, line: int, text: str, fields: list[str]) -> tuple[str, str]:
        if len(fields) >= 3 and all(fields[:3]) and text_lists.is_count(fields[0]):
            if text_lists.is_number(fields[1]) and not text_lists.is_number(fields[-1]):
                return fields[-1], fields[1]
            if text_lists.is_number(fields[2]) and not text_lists.is_number(fields[1]):
                return fields[1], fields[2]
        expected = "number, label, path or flag, path, label, with tabs between"
        raise text_lists.malformed(self.file, line, expected, text)
