"""Images from lists: tables in CSV or TSV, and the `.lst` files of MXNet and InsightFace."""

import csv
from collections.abc import Iterator, Mapping

from gfkeras import text_lists
from gfkeras.data.sources import listing
from gfkeras.data.sources.source import Item, ListSource, Refused
from gfkeras.files import PathLike
from gfkeras.safe_text import person_name

IDENTITY_COLUMNS = ("identity", "label", "name", "person")
LANDMARK_COLUMNS = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")


class ImageListSource(ListSource):
    """Images named by a table with a header: `path`, and optionally the person and landmarks.

    The columns can be in any order, in upper or lower case. `path` is required and is relative to
    the root. The person is in `identity`, `label`, `name` or `person`, whichever of these exists
    first, and an empty value means an unknown person. Landmarks are in `x1, y1, …, x5, y5`: all ten
    columns or none of them, and ten empty values mean unknown landmarks. Other columns are ignored.
    Columns are separated by tabs if the header has one, otherwise by commas, otherwise by
    semicolons. A number in the column `label` must be whole and not negative: 1.5, −1, 1e3 and NaN
    are refused.

    Rows are read one at a time. Lists come from the internet, so an absolute path or a path that
    leaves the root is refused. A path that is listed twice gives two items with the same name.

    Args:
        file: the table, as `gfkeras.text_lists.lines` reads it.
        root: the folder to which the paths are relative. The default is the folder of the table.

    Raises:
        ValueError: with file and line, for a missing file or root and a malformed row.

    Example:
        ImageListSource("train.csv", root="images")     # path,identity,x1,y1,…
    """

    format = "list"

    def __init__(self, file: PathLike, root: PathLike | None = None):
        self.file = self.path = listing.existing_file("file", file, "a CSV or TSV list of images")
        self.root = listing.existing_folder(
            "root", self.file.parent if root is None else root, "the images of the list"
        )
        # Read the header now, so that a wrong file fails before any work is done.
        next(self._rows(), None)

    def items(self) -> Iterator[Item | Refused]:
        """Yields the images in the order of the rows. The locator is the path under the root."""
        for line, row in self._rows():
            name = listing.posix(row["path"])
            if not name:
                raise text_lists.unexpected(self.file, line, "a path", "an empty one")
            landmarks = self._landmarks(line, row)
            yield self.listed(name, self._identity(line, row), landmarks)

    def _identity(self, line: int, row: Mapping[str, str]) -> str | None:
        column = next((c for c in IDENTITY_COLUMNS if c in row), None)
        if column is None or not row[column]:
            return None
        name = text_lists.label_name(row[column]) if column == "label" else row[column]
        if name is None:
            expected = "a label that is a whole number of at least 0, or a name"
            raise text_lists.malformed(self.file, line, expected, row[column])
        return person_name(name)

    def _rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        # A quoted value can span several lines, and blank lines are left out. The line numbers of
        # the csv module would therefore be wrong.
        last = 0

        def texts() -> Iterator[str]:
            nonlocal last
            for number, text in text_lists.lines(self.file):
                last = number
                yield text + "\n"

        source = texts()
        header = next(source, None)
        if header is None:
            raise text_lists.unexpected(self.file, 1, "a header with the column `path`", "no text")
        delimiter = text_lists.delimiter_of(header)
        try:
            first = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True))
        except csv.Error as error:
            raise text_lists.unexpected(
                self.file, last, "a header in one line", str(error)
            ) from error
        columns = self._columns(last, first)
        rows = csv.reader(source, delimiter=delimiter, strict=True, skipinitialspace=True)
        while True:
            try:
                values = next(rows, None)
            except csv.Error as error:
                kind = {"\t": "tab", ",": "comma", ";": "semicolon"}[delimiter]
                expected = f"{kind}-separated values"
                raise text_lists.unexpected(self.file, last, expected, error) from error
            if values is None:
                return
            if len(values) != len(columns):
                expected = f"{len(columns)} values ({', '.join(columns)})"
                raise text_lists.malformed(self.file, last, expected, delimiter.join(values))
            yield last, {c: v.strip() for c, v in zip(columns, values, strict=True)}

    def _columns(self, line: int, header: list[str]) -> list[str]:
        columns = [name.strip().lower() for name in header]
        if "path" not in columns or len(set(columns)) != len(columns):
            expected = "a header of different names with the column `path`"
            raise text_lists.malformed(self.file, line, expected, ",".join(header))
        landmarks = set(LANDMARK_COLUMNS) & set(columns)
        if landmarks and len(landmarks) != len(LANDMARK_COLUMNS):
            missing = [c for c in LANDMARK_COLUMNS if c not in landmarks]
            expected = f"all of {', '.join(LANDMARK_COLUMNS)} or none"
            raise text_lists.unexpected(self.file, line, expected, f"no {', '.join(missing)}")
        return columns

    def _landmarks(
        self, line: int, row: Mapping[str, str]
    ) -> tuple[tuple[float, float], ...] | None:
        values = [row[column] for column in LANDMARK_COLUMNS if column in row]
        if not any(values):
            return None
        points = text_lists.five_points(values)
        if points is None:
            expected = "ten finite numbers x1, y1, …, x5, y5"
            raise text_lists.malformed(self.file, line, expected, ", ".join(values))
        return points


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
