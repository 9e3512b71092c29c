"""IJB-B and IJB-C in the layout of InsightFace's evaluation: images, templates and subjects."""

from __future__ import annotations

import dataclasses
import itertools
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras import text_lists
from gfkeras.data.sources import listing
from gfkeras.data.sources.source import FileSource, Item, Refused
from gfkeras.errors import one_of
from gfkeras.files import PathLike

SUBSETS = ("IJBB", "IJBC")
_CHUNK = 100_000


@dataclasses.dataclass(frozen=True, eq=False)
class IJBMetadata:
    """The protocol files in `meta/`, as arrays. Row i of each array is image i.

    A template is a set of images and video frames of one subject. Frames of one video have the same
    media number. Files are read line by line into typed arrays. IJB-C's 469,375 images take about
    45 MB, and its 15,658,489 pairs of templates take 270 MB when you ask for them. ValueError is
    raised for missing and malformed files, with file, line, what was expected and received.

    Attributes:
        root: the folder with `meta/` and `loose_crop/`.
        subset: "IJBB" or "IJBC".
        names: (N,) str, file names under `loose_crop/`.
        templates, medias: (N,) int64.
        landmarks: (N, 5, 2) float32, x and y in pixels of the loose crop.
        scores: (N,) float32, scores of the face detector.

    Example:
        meta = IJBMetadata.load("IJBC")
        first, second, same = meta.pairs()
        templates, subjects = meta.gallery(1)
    """

    root: Path
    subset: str
    names: np.ndarray
    templates: np.ndarray
    medias: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray

    @classmethod
    def load(cls, root: PathLike, subset: str | None = None) -> IJBMetadata:
        """Reads the two lists of images in `meta/`, which must name the same images.

        The subset is "IJBB" or "IJBC". The default is the subset whose lists exist.
        """
        root = Path(root)
        subset = find_subset(root, subset)
        file = meta_file(root, subset, "face_tid_mid.txt")
        # A typed array takes 8 bytes per number. A list of Python integers takes several times as
        # much.
        names, templates, medias = [], array("q"), array("q")
        for line, text in text_lists.lines(file):
            fields = text_lists.fields(text)
            if len(fields) != 3 or not all(map(_is_int, fields[1:])):
                raise text_lists.malformed(file, line, "name, template, media", text)
            names.append(fields[0])
            templates.append(int(fields[1]))
            medias.append(int(fields[2]))
        points, scores = array("f"), array("f")
        for line, name, five, score in image_rows(root, subset):
            count = len(scores)
            if count >= len(names) or names[count] != name:
                expected = f"{names[count]!r}, as in {file}" if count < len(names) else "no line"
                raise text_lists.malformed(_points_file(root, subset), line, expected, name)
            points.extend(itertools.chain.from_iterable(five))
            scores.append(score)
        if len(scores) != len(names):
            raise ValueError(
                f"{_points_file(root, subset)}: expected {len(names)} images, as in {file}. "
                f"Received: {len(scores)}"
            )
        return cls(
            root, subset, np.array(names, np.str_),
            np.array(templates, np.int64), np.array(medias, np.int64),
            np.array(points, np.float32).reshape(-1, 5, 2), np.array(scores, np.float32),
        )  # fmt: skip

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the pairs of 1:1 verification.

        These are two templates, (P,) int64 each, and whether they show the same subject.
        """
        file = meta_file(self.root, self.subset, "template_pair_label.txt")
        # Grown in place, because joining blocks at the end would need twice the memory.
        columns = (array("q"), array("q"), array("b"))
        for rows in _integer_blocks(file):
            for column, values in zip(columns, rows.T, strict=True):
                column.frombytes(values.astype(column.typecode).tobytes())
        first, second, same = (np.frombuffer(column, column.typecode) for column in columns)
        return first, second, same == 1

    def gallery(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns gallery 1 or 2 of 1:N identification: its templates and subjects, int64."""
        if number not in (1, 2):
            raise ValueError(f"`number` must be 1 or 2. Received: number={number!r}")
        # IJB-C calls the galleries G1 and G2, IJB-B calls them S1 and S2.
        files = [
            self.root / "meta" / f"{self.subset.lower()}_1N_gallery_{letter}{number}.csv"
            for letter in "GS"
        ]
        return _subjects(next((file for file in files if file.is_file()), files[0]))

    def probes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probes of 1:N identification: templates and their subjects, int64."""
        return _subjects(self.root / "meta" / f"{self.subset.lower()}_1N_probe_mixed.csv")


def find_subset(root: Path, subset: str | None) -> str:
    """Returns the given subset, or the one whose image list exists. Else raises ValueError."""
    listing.existing_folder("root", root, "meta/ and loose_crop/ of IJB-B or IJB-C")
    if subset is not None:
        return one_of("subset", subset, SUBSETS)
    found = [s for s in SUBSETS if (root / "meta" / f"{s.lower()}_face_tid_mid.txt").is_file()]
    if len(found) != 1:
        raise ValueError(
            f"`root` must contain meta/ijbb_face_tid_mid.txt or meta/ijbc_face_tid_mid.txt, or "
            f"`subset` must name the set. "
            f"Received: root={str(root)!r} with {' and '.join(found) or None}"
        )
    return found[0]


def meta_file(root: Path, subset: str, name: str) -> Path:
    """Returns the path `meta/ijbc_NAME`. Raises ValueError if the file is missing."""
    return listing.existing_file("root", root / "meta" / f"{subset.lower()}_{name}", "IJB's list")


def image_rows(
    root: Path, subset: str
) -> Iterator[tuple[int, str, tuple[tuple[float, float], ...], float]]:
    """Yields (line, name, landmarks, detector's score) of each image, while reading the file."""
    file = _points_file(root, subset)
    for line, text in text_lists.lines(file):
        name, *fields = text_lists.fields(text)
        points = text_lists.five_points(fields[:10])
        score = text_lists.finite(fields[10]) if len(fields) == 11 else None
        if points is None or score is None:
            raise text_lists.malformed(file, line, "name, x1, y1, …, x5, y5, score", text)
        yield line, name, points, score


def _points_file(root: Path, subset: str) -> Path:
    return meta_file(root, subset, "name_5pts_score.txt")


def _is_int(text: str) -> bool:
    return text_lists.is_count(text.removeprefix("-"))


def _integer_blocks(file: Path) -> Iterator[np.ndarray]:
    """Yields the rows "template template 0|1" of a long file, (≤ 100,000, 3) at a time."""
    numbered = text_lists.lines(file)
    while block := list(itertools.islice(numbered, _CHUNK)):
        try:
            rows = np.loadtxt([text for _, text in block], np.int64, comments=None, ndmin=2)
            good = rows.shape == (len(block), 3) and bool(np.isin(rows[:, 2], (0, 1)).all())
        except ValueError:
            good = False
        if not good:
            line, text = next((n, t) for n, t in block if not _is_pair(t.split()))
            raise text_lists.malformed(file, line, "template, template, 0 or 1", text)
        yield rows


def _is_pair(fields: list[str]) -> bool:
    return len(fields) == 3 and all(map(_is_int, fields)) and int(fields[2]) in (0, 1)


def _subjects(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns (templates, subjects) of a file TEMPLATE_ID,SUBJECT_ID,…, each template once."""
    listing.existing_file("root", file, "IJB's list of templates and subjects")
    rows: dict[int, int] = {}
    numbered = text_lists.lines(file)
    line, header = next(numbered, (1, ""))
    if [name.strip().upper() for name in header.split(",")[:2]] != ["TEMPLATE_ID", "SUBJECT_ID"]:
        raise text_lists.malformed(file, line, "the header TEMPLATE_ID,SUBJECT_ID,…", header)
    for line, text in numbered:
        fields = [field.strip() for field in text.split(",")]
        if len(fields) < 2 or not all(map(_is_int, fields[:2])):
            raise text_lists.malformed(file, line, "TEMPLATE_ID,SUBJECT_ID,…, integers", text)
        template, subject = int(fields[0]), int(fields[1])
        if rows.setdefault(template, subject) != subject:
            expected = f"template {template} of one subject, {rows[template]}"
            raise text_lists.unexpected(file, line, expected, subject)
    return np.array(list(rows), np.int64), np.array(list(rows.values()), np.int64)


class IJBSource(FileSource):
    """The loose crops of IJB-B or IJB-C with their landmarks.

    `root` contains `loose_crop/` with the images and `meta/` with the lists. This class reads
    `ijbc_name_5pts_score.txt` (name, five points, score of the detector). `IJBMetadata` reads the
    protocols. The protocols use templates, so identities and pairs are unknown here.

    Args:
        root: the folder.
        subset: "IJBB" or "IJBC". The default is the subset whose lists exist.

    Raises:
        ValueError: with file and line, for missing lists and a malformed line.

    Example:
        next(IJBSource("IJBC").items()).landmarks       # five points in the loose crop
    """

    format = "ijb"

    def __init__(self, root: PathLike, subset: str | None = None):
        self.root = self.path = Path(root)
        self.subset = find_subset(self.root, subset)
        meta_file(self.root, self.subset, "name_5pts_score.txt")
        self.images = listing.existing_folder("root", self.root / "loose_crop", "the images")

    def items(self) -> Iterator[Item | Refused]:
        """Yields the images in the order of the list. The locator is the path in `loose_crop/`."""
        for _, listed, landmarks, _ in image_rows(self.root, self.subset):
            name = listing.posix(listed)
            reason = listing.path_problem(name)
            yield Refused(name, reason) if reason else Item(name, None, name, landmarks)

    def read(self, locator: str) -> bytes:
        """Returns the bytes of the file `locator`, a path in `loose_crop/`."""
        return listing.read_under(self.images, locator)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "subset": self.subset}
