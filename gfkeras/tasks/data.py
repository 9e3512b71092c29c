"""Data sets: downloading, statistics, extraction and checks."""

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
    """A downloaded data set, or the downloaded file of the detector.

    For the detector, the numbers of `people` and `images` and the `terms` of use are None.
    """

    name: str
    path: Path
    people: int | None = None
    images: int | None = None
    terms: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the fields that are not None."""
        known = dataclasses.asdict(self) | {"path": str(self.path)}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class Stats:
    """The statistics of a data set, and the contact sheet if one was drawn."""

    statistics: DataStatistics
    # Near-duplicates and likely wrong names, or None without embeddings.
    suspects: Suspects | None = None
    sheet: Path | None = None

    def summary(self) -> list[tuple[str, str]]:
        """(label, text) of the most important numbers."""
        statistics, results = self.statistics, self.statistics.to_json()
        spread = "{min:g} to {max:g}, median {median:g}"
        return [
            ("Images", f"{statistics.images:,} of {statistics.identities:,} people"),
            ("Without a name", f"{statistics.unlabelled:,}"),
            ("Images per person", spread.format(**results["images_per_identity"])),
            ("Size", ", ".join(f"{size}: {n:,}" for size, n in list(results["sizes"].items())[:4])),
            ("Bytes per image", f"{statistics.bytes_per_image:,.0f} (median)"),
            ("Unreadable", f"{len(statistics.unreadable):,}"),
        ]

    def to_json(self) -> dict[str, Any]:
        """The statistics, with the suspects if embeddings were given."""
        suspects = {} if self.suspects is None else dataclasses.asdict(self.suspects)
        return self.statistics.to_json() | suspects


@dataclass(frozen=True)
class Extracted:
    """The number of images that were written as files, and (name, reason) of the others."""

    images: int
    skipped: list[tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras data extract --json`."""
        return {"images": self.images, **skipped_json(self.skipped)}


@dataclass(frozen=True)
class Checked(Result):
    """The splits of records in which every file matches its SHA-256."""

    splits: list[str]
    # Always true in the JSON: a damaged file raises an error instead.
    whole: bool = True


def fetch(name: str, out: PathLike | None = None) -> Fetched:
    """Downloads a public data set into a folder with one folder per person.

    Args:
        name: "lfw", "olivetti", or "yunet" for the face detector.
        out: folder to create. By default, a folder in the cache.

    Raises:
        ValueError: if the name is unknown. The message suggests a similar name.
        DownloadError: if the download fails. Call again to continue it.

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
    """Counts the people and images of a data set, and lists suspicious images.

    Args:
        folder: records, or any source that `gfkeras prepare` can read.
        split: for records: "train" or "heldout".
        sheet: contact sheet to write (.png).
        people: people on the contact sheet, one per row.
        seed: random seed for the people and images on the contact sheet.
        embeddings: file from `gfkeras embed` (.npz), to find near-duplicates and wrong names.
        duplicate_cosine: smallest cosine at which two images are near-duplicates.

    Raises:
        ValueError: if the folder is missing, or if `embeddings` is not an .npz file of embeddings.

    Example:
        stats("photos", sheet="sheet.png").statistics.images
    """
    if sheet is not None and Path(sheet).suffix.lower() != ".png":
        raise ValueError(f"`sheet` must end in .png. Received: sheet={str(sheet)!r}")
    folder = Path(folder)
    # Records and other sources are read differently, but give the same statistics and sheet.
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
    """Writes the images of records as files, one folder per person.

    Args:
        records: folder that `prepare` wrote.
        out: new folder for the images.
        split: split to extract, "train" or "heldout".

    Raises:
        ValueError: if `records` has no records, or if `out` exists already.

    Example:
        extract("records", "files").images
    """
    return Extracted(*selection.extract(RecordSet(records, split), Path(out)))


def check(records: PathLike) -> Checked:
    """Checks every file of records against its SHA-256.

    Args:
        records: folder that `prepare` wrote.

    Raises:
        ValueError: if a file is missing or damaged.

    Example:
        check("records").splits
    """
    splits = list(Manifest.read(records).splits)
    for split in splits:
        RecordSet(records, split).verify()
    return Checked(splits)


def _suspects(embeddings: Path, duplicate_cosine: float) -> Suspects:
    stored = read_npz(
        embeddings, "an .npz file of `gfkeras embed` (`embeddings`)", ("embedding", "path")
    )
    embedding, paths = stored["embedding"], [Path(str(path)) for path in stored["path"].ravel()]
    # Any .npz file can have arrays with these names, so check their shapes too.
    if embedding.ndim != 2 or embedding.dtype.kind != "f" or len(embedding) != len(paths):
        raise ValueError(
            "`embeddings` must be an .npz file of `gfkeras embed` with (N, D) floats and N paths. "
            f"Received: {str(embeddings)!r} with {embedding.shape} {embedding.dtype} and "
            f"{len(paths)} paths"
        )
    # The file has no names of people: the folder of an image is its person.
    names = ["/".join(path.parts[-2:]) for path in paths]
    return find_suspects(embedding, names, [path.parent.name for path in paths], duplicate_cosine)
