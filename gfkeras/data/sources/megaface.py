"""MegaFace's challenge: FaceScrub's actors and a million distractors."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gfkeras import text_lists
from gfkeras.data.sources import listing
from gfkeras.data.sources.source import FileSource, Item, Refused, refused
from gfkeras.data.walk import photos_below
from gfkeras.errors import one_of, wrong_value
from gfkeras.files import PathLike, parsed_json
from gfkeras.safe_text import person_name, utf8

PARTS = ("facescrub", "megaface")
FOLDERS = {
    "facescrub": ("facescrub_images", "facescrub", "FaceScrub"),
    "megaface": ("megaface_images", "FlickrFinal2"),
}
LISTS = {
    "facescrub": [
        "facescrub_lst",
        "facescrub_features_list.json",
        "facescrub_uncropped_features_list.json",
    ],
    "megaface": ["megaface_lst"],
}
_DISTRACTORS = re.compile(r"megaface_features_list\.json_(\d+)_(\d+)")
# A list of a million paths has 40 MB. A file over 512 MiB is not a list.
_MAX_JSON = 1 << 29


class MegaFaceSource(FileSource):
    """FaceScrub's images with the actor as identity, then the distractors, without identities.

    Two layouts are supported. InsightFace's layout has the folders `facescrub_images` and
    `megaface_images` and the lists `facescrub_lst` and `megaface_lst`, with one relative path per
    line. The official layout has the folders `facescrub` and `FlickrFinal2`, and the lists of the
    development kit, in the root or its folder `templatelists`. These lists are JSON:
    {"path": […], "id": […]}. If there are several lists of distractors, the
    longest list of set 1 is used. Without a list, all images in the folder are used. The
    annotations `*.json` next to MegaFace's images are ignored.

    Text lists stream. The paths of a folder without a list stay in memory while `items` runs. A
    JSON list is read completely and takes 150 MB for a million paths.

    Args:
        root: the folder that contains both parts, or one of them.
        part: "facescrub" or "megaface". The default is both.
        refined: refuse the images named in `facescrub_noises.txt` and `megaface_noises.txt`, as
            the refined protocol MegaFace (R) does.
        distractors: name of the list of distractors, such as "megaface_features_list.json_1000_1".

    Raises:
        ValueError: for a root without such folders or lists, and from `items` for a malformed list.

    Example:
        MegaFaceSource("megaface_testpack", part="facescrub", refined=True)
    """

    format = "megaface"

    def __init__(
        self,
        root: PathLike,
        part: str | None = None,
        refined: bool = False,
        distractors: str | None = None,
    ):
        self.root = self.path = listing.existing_folder("root", root, "MegaFace or FaceScrub")
        self.part = None if part is None else one_of("part", part, PARTS)
        self.refined = refined
        self.distractors = distractors
        parts = PARTS if part is None else (part,)
        names = [(wanted, name) for wanted in parts for name in FOLDERS[wanted]]
        self._folders: dict[str, str] = {}
        for wanted, name in names:
            if (self.root / name).is_dir():
                self._folders.setdefault(wanted, name)
        if not self._folders:
            expected = f"contain one of the folders {', '.join((name for _, name in names))}"
            raise wrong_value("root", expected, str(self.root))
        self._lists = {wanted: self._list(wanted) for wanted in self._folders}
        self._noise_files = {
            wanted: listing.existing_file("root", self.root / f"{wanted}_noises.txt", "the noises")
            for wanted in (self._folders if refined else ())
        }

    def _list(self, part: str) -> Path | None:
        places = (self.root, self.root / "templatelists")
        if part == "megaface" and self.distractors is not None:
            if listing.path_problem(self.distractors):
                raise wrong_value("distractors", "name a list", self.distractors)
            found = [place / self.distractors for place in places]
            chosen = next((file for file in found if file.is_file()), found[0])
            return listing.existing_file("distractors", chosen, "the list of distractors")
        for name in LISTS[part]:
            for place in places:
                if (place / name).is_file():
                    return place / name
        # The file names end in the number of distractors and the set. `max` prefers the lowest set,
        # then the most distractors.
        sizes = [
            (-int(match[2]), int(match[1]), file)
            for place in (places if part == "megaface" else ())
            for file in place.glob("megaface_features_list.json_*")
            if (match := _DISTRACTORS.fullmatch(file.name))
        ]
        return max(sizes)[2] if sizes else None

    def items(self) -> Iterator[Item | Refused]:
        """Yields FaceScrub's images, then the distractors, each in the order of its list.

        Names are "facescrub/Actor/file" and "megaface/…/file". Locators are paths under the root.
        """
        for part, folder in self._folders.items():
            noises = self._noises(part)
            listed = self._listed(part)
            if listed is None:
                found = photos_below(self.root / folder)
                listed = (path.relative_to(self.root).as_posix() for path in found.photos)
                # Annotations are next to MegaFace's images and are not worth a reason.
                others = [left for left in found.left_out if left.path.suffix != ".json"]
                yield from refused(self.root, others)
            for path in listed:
                # Paths in the kit's lists can begin with the folder of images, or inside it.
                yield self._item(part, path.removeprefix(f"{folder}/"), noises)

    def _item(self, part: str, path: str, noises: set[str]) -> Item | Refused:
        name = utf8(f"{part}/{path}")
        reason = listing.path_problem(path)
        actor, *files = path.split("/")
        if part == "facescrub":
            identity: str | None = person_name(actor)
            key = files[-1] if files else ""
            if reason is None and len(files) != 1:
                reason = "not in an actor's folder"
        else:
            identity, key = None, "/".join([actor, *files][-3:])
        if reason is None and key in noises:
            reason = "named in the list of noises"
        if reason is not None:
            return Refused(name, reason)
        return Item(name, identity, listing.locator_of(f"{self._folders[part]}/{path}"))

    def _listed(self, part: str) -> Iterator[str] | None:
        file = self._lists[part]
        if file is None:
            return None
        if ".json" in file.name:
            return map(listing.posix, _json_paths(file))
        texts = (text_lists.unquoted(text.strip()) for _, text in text_lists.lines(file))
        return map(listing.posix, texts)

    def _noises(self, part: str) -> set[str]:
        """Returns file names (FaceScrub) or the last three parts of paths, a few hundred each."""
        if part not in self._noise_files:
            return set()
        texts = (text.strip() for _, text in text_lists.lines(self._noise_files[part]))
        return {t.split("\t")[-1] for t in texts if not t.startswith("#")}

    def describe(self) -> dict[str, Any]:
        """Returns format, path, options, and the names of the lists in use."""
        return {
            **super().describe(),
            "part": self.part,
            "refined": self.refined,
            "lists": {part: file and file.name for part, file in self._lists.items()},
        }


def _json_paths(file: Path) -> list[str]:
    size = file.stat().st_size
    if size > _MAX_JSON:
        raise ValueError(f"{file}: expected at most {_MAX_JSON} bytes. Received: {size}")
    try:
        content = parsed_json(file.read_bytes(), _MAX_JSON)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: expected JSON. Received: {error}") from error
    paths = content.get("path") if isinstance(content, dict) else None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ValueError(
            f'{file}: expected {{"path": [texts], "id": [texts]}}. '
            f"Received: {type(content).__name__}"
            + (f" with {', '.join(map(repr, list(content)[:5]))}" if content else "")
        )
    return paths
