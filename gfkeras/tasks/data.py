"""Data sets: fetched, counted, taken apart and checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfkeras.archives import read_npz
from gfkeras.data import RecordSet, fetching
from gfkeras.data.records import Manifest, selection
from gfkeras.data.records.manifest import MANIFEST_FILE
from gfkeras.data.sources import open_source
from gfkeras.data.statistics import DataStatistics, Suspects, find_suspects
from gfkeras.data.statistics.contact_sheet import (
    contact_sheet,
    drawn_from_records,
    drawn_from_source,
)
from gfkeras.files import PathLike, replacing
from gfkeras.tasks.reporting import Result, skipped_json


@dataclass(frozen=True)
class Fetched:
    """A public data set, or the detector's file, on disk.

    `people`, `images` and `terms`, how many and the terms of use, are None for the detector.
    """

    name: str
    path: Path
    people: int | None = None
    images: int | None = None
    terms: str | None = None

    def to_json(self) -> dict[str, Any]:
        """All that is known."""
        known = dataclasses.asdict(self) | {"path": str(self.path)}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class Stats:
    """The statistics of a data set, and the contact sheet that was drawn, if any."""

    statistics: DataStatistics
    # Near-duplicates and likely wrong names; None without embeddings.
    suspects: Suspects | None = None
    sheet: Path | None = None

    def summary(self) -> list[tuple[str, str]]:
        """(label, text) of the most important numbers."""
        statistics, results = self.statistics, self.statistics.to_json()
        spread = "{min:g} to {max:g}, median {median:g}"
        return [
            ("Images", f"{statistics.images:,} of {statistics.identities:,} people"),
            ("Of nobody known", f"{statistics.unlabelled:,}"),
            ("Images a person", spread.format(**results["images_per_identity"])),
            ("Size", ", ".join(f"{size}: {n:,}" for size, n in list(results["sizes"].items())[:4])),
            ("Bytes an image", f"{statistics.bytes_per_image:,.0f} (median)"),
            ("Unreadable", f"{len(statistics.unreadable):,}"),
        ]

    def to_json(self) -> dict[str, Any]:
        """The statistics, and the suspects beside them."""
        suspects = {} if self.suspects is None else dataclasses.asdict(self.suspects)
        return self.statistics.to_json() | suspects


@dataclass(frozen=True)
class Extracted:
    """How many images were written as files, and (name, reason) of the others."""

    images: int
    skipped: list[tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Counts, and the files left out."""
        return {"images": self.images, **skipped_json(self.skipped)}


@dataclass(frozen=True)
class Checked(Result):
    """The splits of records whose files all have their SHA-256."""

    splits: list[str]
    # Damage is an error.
    whole: bool = True


def fetch(name: str, out: PathLike | None = None) -> Fetched:
    """Downloads a public data set into a folder with one folder per person.

    Args:
        name: "lfw", "olivetti", or "yunet" for the face detector.
        out: the folder to make; one in the cache by default.

    Raises:
        ValueError: for an unknown name, with the nearest.
        DownloadError: if the download fails; call again to continue it.

    Example:
        fetch("olivetti").path
    """
    path = fetching.fetch(name, out)
    if name not in fetching.DATA_SETS:
        return Fetched(name, path)
    people = [folder for folder in path.iterdir() if folder.is_dir()]
    images = sum(1 for folder in people for _ in folder.iterdir())
    return Fetched(name, path, len(people), images, fetching.DATA_SETS[name].terms)


def stats(
    folder: PathLike,
    *,
    split: str = "train",
    sheet: PathLike | None = None,
    people: int = 10,
    seed: int = 0,
    embeddings: PathLike | None = None,
    duplicate_cosine: float = 0.9,
) -> Stats:
    """Counts a data set, draws it, and lists images that look out of place.

    Args:
        folder: records, a folder per person, or any source.
        split: of records: "train" or "heldout".
        sheet: the contact sheet to draw, .png.
        people: rows of the sheet.
        seed: of the people and images drawn.
        embeddings: an .npz of `gfkeras embed`, to look for doubles and wrong names.
        duplicate_cosine: least cosine of near-duplicates.

    Raises:
        ValueError: for a missing folder, and a file that is no .npz of embeddings.

    Example:
        stats("photos", sheet="sheet.png").statistics.images
    """
    if sheet is not None and Path(sheet).suffix.lower() != ".png":
        raise ValueError(f"`sheet` must end in .png. Received: sheet={str(sheet)!r}")
    folder = Path(folder)
    draw: Callable[[int, int], Any]
    if (folder / MANIFEST_FILE).is_file():
        records = RecordSet(folder, split)
        statistics = DataStatistics.of_records(records)
        draw = functools.partial(drawn_from_records, records)
    else:
        source = open_source(folder)
        statistics = DataStatistics.of_source(source)
        draw = functools.partial(drawn_from_source, source)
    if sheet is not None:
        title = f"{folder.name}: {statistics.images:,} images of {statistics.identities:,} people"
        with replacing(sheet) as temporary:
            contact_sheet(draw(people, seed), title).save(temporary)
    suspects = None if embeddings is None else _suspects(Path(embeddings), duplicate_cosine)
    return Stats(statistics, suspects, None if sheet is None else Path(sheet))


def extract(records: PathLike, out: PathLike, *, split: str = "train") -> Extracted:
    """Writes records as files, a folder for each person.

    Args:
        records: the folder that `prepare` wrote.
        out: a new folder.
        split: "train" or "heldout".

    Raises:
        ValueError: for a folder without records, and one that exists already.

    Example:
        extract("records", "files").images
    """
    return Extracted(*selection.extract(RecordSet(records, split), Path(out)))


def check(records: PathLike) -> Checked:
    """Compares every file of records with its SHA-256.

    Args:
        records: the folder that `prepare` wrote.

    Raises:
        ValueError: for a file that is missing or differs.

    Example:
        check("records").splits
    """
    splits = list(Manifest.read(records).splits)
    for split in splits:
        RecordSet(records, split).verify()
    return Checked(splits)


def _suspects(embeddings: Path, duplicate_cosine: float) -> Suspects:
    stored = read_npz(
        embeddings, "an .npz of `gfkeras embed` (`embeddings`)", ("embedding", "path")
    )
    embedding, paths = stored["embedding"], [Path(str(path)) for path in stored["path"].ravel()]
    if embedding.ndim != 2 or embedding.dtype.kind != "f" or len(embedding) != len(paths):
        raise ValueError(
            "`embeddings` must be an .npz of `gfkeras embed`, (N, D) floats and N paths. Received: "
            f"{str(embeddings)!r}, {embedding.shape} {embedding.dtype} and {len(paths)} paths"
        )
    names = ["/".join(path.parts[-2:]) for path in paths]
    return find_suspects(embedding, names, [path.parent.name for path in paths], duplicate_cosine)
