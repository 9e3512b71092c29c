"""The shared walk over folders of photos, with the reasons for leaving files out.

Every command that lists photos uses this module. A photo is a regular file with a usual image
suffix, or with the content of an image. Reading it later shows whether it can be decoded. Links are
followed. Hidden files and the leftovers of systems and programs are not photos.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gfkeras.files import IMAGE_SUFFIXES, PathLike, natural_key
from gfkeras.safe_text import person_name

REASONS = {
    "hidden": "hidden, because its name begins with a dot",
    "system": "left by an operating system or a program",
    "loose": "not in a person's folder",
    "nested": "a folder inside a person's folder",
    "no-images": "no images",
    "few-images": "fewer images than asked for",
    "same-name": "the same name as another person, in another form of Unicode",
    "repeated": "a link to a folder that is already used",
    "above": "a link to a folder that contains it",
    "missing": "a link to nothing",
    "special": "not a regular file",
    "empty": "the file is empty",
    "not-an-image": "not an image of a known format",
    "unreadable": "cannot be read",
}
_USUAL_WORDS = (REASONS["hidden"], REASONS["system"])
# Folders and files of macOS, Windows, NAS devices and photo programs.
_SYSTEM_NAMES = frozenset(
    {
        "__macosx", "icon\r", "network trash folder", "temporary items",
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler",
        "system volume information", "found.000",
        "@eadir", "@tmp", "@synoresource", "#recycle", "#snapshot", "@recycle",
        "@recently-snapshot", "lost+found", "picasa.ini", "zbthumbnail.info",
    }
)  # fmt: skip
_SUFFIXES = frozenset(IMAGE_SUFFIXES)
_MAGIC = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"GIF87a", b"GIF89a",
    b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\xff\x0a",
)  # fmt: skip
# HEIC and AVIF, in bytes 8 to 12.
HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))
_BMP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))
_HEAD = 32


class LeftOut(NamedTuple):
    """A file or folder that is not used, with the reason in words of `REASONS`."""

    path: Path
    reason: str

    @property
    def kind(self) -> str:
        """The key of the reason in `REASONS`."""
        found = (kind for kind, words in REASONS.items() if self.reason.startswith(words))
        return next(found, "refused")


@dataclasses.dataclass
class Photos:
    """Photos in natural order, and other files that were left out, with usual leftovers last."""

    photos: list[Path] = dataclasses.field(default_factory=list)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)

    def sort(self) -> Photos:
        """Sorts both lists, and returns this object."""
        self.photos.sort(key=_path_key)
        self.left_out.sort(key=lambda left: _path_key(left.path))
        usual_last(self.left_out)
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a folder: a folder or a file, with the kind of its problem, if it has one."""

    path: Path
    is_folder: bool
    is_link: bool
    problem: str | None = None
    detail: str = ""

    def left_out(self, kind: str | None = None) -> LeftOut:
        """Returns this entry as left out, for its own problem or for the given kind."""
        return left_out(self.path, kind or self.problem or "special", self.detail)


@dataclasses.dataclass
class People:
    """The folders of people below a root, by name, and the files next to those folders."""

    folders: dict[str, Path]
    loose: list[Entry]
    left_out: list[LeftOut]


def left_out(path: Path, kind: str, detail: str = "") -> LeftOut:
    """Returns a path with a reason of `REASONS`, and a detail in brackets."""
    return LeftOut(path, REASONS[kind] + (f" ({detail})" if detail else ""))


def entries(folder: PathLike) -> list[Entry]:
    """Returns the entries of a folder in natural order. Raises OSError if it cannot be listed.

    The content of files is not read here. `photo` does that.
    """
    with os.scandir(folder) as found:
        listed = sorted(found, key=lambda entry: natural_key(entry.name))
    return [_entry(entry) for entry in listed]


def photo(entry: Entry) -> Entry:
    """Returns the entry of a file with its problem as a photo. It opens regular files only."""
    if entry.problem is None and entry.path.suffix.lower() not in _SUFFIXES:
        problem, detail = _content_problem(entry.path)
        return dataclasses.replace(entry, problem=problem, detail=detail)
    return entry


def photos_in(person: Path) -> Photos:
    """Returns the photos directly in one person's folder. Folders inside it are left out."""
    found = Photos()
    try:
        listed = entries(person)
    except OSError as error:
        return Photos(left_out=[_unreadable(person, error)])
    for entry in listed:
        if entry.is_folder and entry.problem is None:
            found.left_out.append(entry.left_out("nested"))
        elif (checked := photo(entry)).problem is None:
            found.photos.append(entry.path)
        else:
            found.left_out.append(checked.left_out())
    if not found.photos:
        found.left_out.append(left_out(person, "no-images"))
    usual_last(found.left_out)
    return found


def people_in(root: Path) -> People:
    """Returns the folders of people, which are directly in `root`. `photos_in` lists the photos.

    A folder with GROUP/PERSON/photo does not have people by this rule: pass each GROUP separately.
    Names are valid Unicode in the form NFC, for any form that the file system uses.
    """
    found = People({}, [], [])
    folders = []
    for entry in entries(root):
        if entry.problem is not None:
            found.left_out.append(entry.left_out())
        elif entry.is_folder:
            folders.append(entry)
        else:
            found.loose.append(entry)
    taken: set[tuple[int, int]] = set()
    above: set[tuple[int, int]] = set()
    if any(entry.is_link for entry in folders):
        taken = {_identity(entry.path) for entry in folders if not entry.is_link}
        above = _above(root)
    for entry in folders:
        name = person_name(entry.path.name)
        if entry.is_link and _identity(entry.path) in above:
            found.left_out.append(entry.left_out("above"))
        elif entry.is_link and _identity(entry.path) in taken:
            found.left_out.append(entry.left_out("repeated"))
        elif name in found.folders:
            found.left_out.append(entry.left_out("same-name"))
        else:
            found.folders[name] = entry.path
            if entry.is_link:
                taken.add(_identity(entry.path))
    return found


def photos_below(root: Path, seen: set[tuple[int, int]] | None = None) -> Photos:
    """Returns the photos in a folder and its subfolders. Links never cause a folder to be repeated.

    `seen` contains the folders of earlier walks. The folders of this walk are added to it.
    """
    found, links = Photos(), [root]
    seen = set() if seen is None else seen
    # A link to a parent folder would lead through the whole disk.
    above = _above(root) - {_identity(root)}
    # Links are followed last, so that the real folders are listed under their own names.
    while links:
        folders = [links.pop(0)]
        while folders:
            folder = folders.pop()
            try:
                identity, listed = _identity(folder), entries(folder)
            except OSError as error:
                found.left_out.append(_unreadable(folder, error))
                continue
            if identity in seen or identity in above:
                kind = "repeated" if identity in seen else "above"
                found.left_out.append(left_out(folder, kind))
                continue
            seen.add(identity)
            for entry in listed:
                if entry.is_folder and entry.problem is None:
                    (links if entry.is_link else folders).append(entry.path)
                elif (checked := photo(entry)).problem is None:
                    found.photos.append(entry.path)
                else:
                    found.left_out.append(checked.left_out())
    return found.sort()


def photos_of(sources: PathLike | Iterable[Any]) -> Photos:
    """Returns the given files, and the photos in and below the given folders.

    If there are several sources, as from a shell's `photos/*`, each folder is walked once, and
    leftovers of a system are left out. A file that you name is used under any name, if it is a
    regular file. An object that is not a path, such as an array, stays in its place.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    parts: dict[int, Photos] = {}
    seen: set[tuple[int, int]] = set()
    paths = (str, os.PathLike)
    places = [Path(os.fsdecode(each)) if isinstance(each, paths) else each for each in given]
    # Links are walked last, so that the other folders are listed under their own names.
    for number in sorted(range(len(places)), key=lambda number: _is_link(places[number])):
        place = places[number]
        if not isinstance(place, os.PathLike):
            parts[number] = Photos([place])
        elif len(given) > 1 and (kind := _kind_among_others(Path(place))):
            parts[number] = Photos([], [left_out(Path(place), kind)])
        elif Path(place).is_dir():
            parts[number] = photos_below(Path(place), seen)
        elif Path(place).exists() and not Path(place).is_file():
            parts[number] = Photos([], [left_out(Path(place), "special")])
        else:
            parts[number] = Photos([Path(place)])
    found = Photos()
    for number in range(len(given)):
        found.photos += parts[number].photos
        found.left_out += parts[number].left_out
    usual_last(found.left_out)
    return found


def _is_link(place: Any) -> bool:
    return isinstance(place, os.PathLike) and Path(place).is_symlink()


def _kind_among_others(place: Path) -> str | None:
    """Returns why a source among several others is left out, or None if it is used."""
    if place.name.lower() in _SYSTEM_NAMES:
        return "system"
    leads_up = place.is_symlink() and place.is_dir() and _identity(place) in _above(place.parent)
    return "above" if leads_up else None


def usual_last(skipped: list[Any]) -> None:
    """Moves hidden files and leftovers of systems to the end of a list of (path, reason)."""
    skipped.sort(key=lambda left: left[1].startswith(_USUAL_WORDS))


def reason_counts(skipped: Collection[tuple[object, str]]) -> dict[str, int]:
    """Returns how often each reason occurs, without its details, the most frequent first."""
    counts: dict[str, int] = {}
    for _, reason in skipped:
        words = reason.partition(" (")[0]
        counts[words] = counts.get(words, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def left_out_note(skipped: Collection[tuple[object, str]]) -> str:
    """Returns a sentence about the files left out: their number, the reasons, and the first one."""
    reasons = "; ".join(f"{count:,} × {words}" for words, count in reason_counts(skipped).items())
    first = next(iter(skipped))[0]
    return f"{len(skipped):,} files and folders are left out: {reasons}. The first: {first}"


def photo_stem(path: Path) -> str:
    """Returns the name of a photo without its suffix. "J. Smith" does not have a suffix."""
    return path.stem if path.suffix.lower() in _SUFFIXES else path.name


def _entry(entry: os.DirEntry[str]) -> Entry:
    path, problem, detail = Path(entry.path), None, ""
    is_link = is_folder = False
    try:
        is_link, is_folder = entry.is_symlink(), entry.is_dir()
        if entry.name.startswith("."):
            problem = "hidden"
        elif entry.name.lower() in _SYSTEM_NAMES:
            problem = "system"
        elif not is_folder and not entry.is_file():
            problem = "missing" if is_link and not path.exists() else "special"
    except OSError as error:
        # For example, a link to itself.
        problem, detail = "unreadable", error.strerror or str(error)
    return Entry(path, is_folder, is_link, problem, detail)


def _content_problem(path: Path) -> tuple[str | None, str]:
    try:
        # If the file has become a pipe in the meantime, opening it must not block.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "special", ""
            head = os.read(descriptor, _HEAD)
        finally:
            os.close(descriptor)
    except OSError as error:
        return "unreadable", error.strerror or str(error)
    if not head:
        return "empty", ""
    return (None if is_image(head) else "not-an-image"), ""


def is_image(head: bytes) -> bool:
    """Whether a file with these first 32 bytes is in a known image format."""
    if head.startswith(_MAGIC):
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] in HEIF_BRANDS | AVIF_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":
        # Text can begin with BM too, so check the size of the header that follows.
        return head[14:18] in _BMP_HEADERS
    # Netpbm: P1 to P6, then white space, then a number or a comment.
    return (
        len(head) > 3 and head[:1] == b"P" and head[1] in b"123456"
        and head[2] in b" \t\r\n" and head[3] in b"0123456789# \t\r\n"
    )  # fmt: skip


def _above(root: Path) -> set[tuple[int, int]]:
    """Returns the identities of a folder and of all folders that contain it."""
    place = root.resolve()
    return {_identity(folder) for folder in (place, *place.parents)}


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _unreadable(path: Path, error: OSError) -> LeftOut:
    return left_out(path, "unreadable", error.strerror or str(error))


def _path_key(path: Path) -> list[list[tuple[int, int, str]]]:
    return [natural_key(part) for part in path.parts]
