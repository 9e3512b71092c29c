"""A set of training records with random access."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.faces import Faces, check_holdout, check_names, check_trainable
from gfkeras.data.images import decode_batch
from gfkeras.data.jpeg import decode_jpeg
from gfkeras.data.records import tfrecord
from gfkeras.data.records.manifest import Manifest
from gfkeras.data.records.shard_files import ShardFiles, open_index
from gfkeras.data.records.tfrecord import FOOTER_BYTES, HEADER_BYTES, Record, unframe
from gfkeras.errors import ImageError, one_of
from gfkeras.files import PathLike, sha256


class RecordSet:
    """One split of a folder that `gfkeras prepare` wrote.

    Opening reads the manifest and maps the index into memory. It does not scan the records, so it
    is fast for any number of them. Each record is read separately, and its checksum is compared.
    Several threads can read, and the set can be sent to other processes.

    Args:
        folder: the folder with `manifest.json`.
        split: "train", or "heldout" if identities were held out.

    Attributes:
        manifest: the manifest of the folder.
        identities: the names, one per label.
        labels: (N,) int32, -1 for an image whose source does not name the person.
        image_size: (height, width).
        skipped: always empty. `skipped.csv` next to the manifest lists the skipped files.

    Raises:
        ValueError: if the manifest, the split or a file is missing, or if the length of a file
            differs from the manifest.

    Example:
        records = RecordSet("records")
        images, read, reasons = records.decode([0, 17, 4])
    """

    def __init__(self, folder: PathLike, split: str = "train"):
        self.folder = Path(folder)
        self.split_name = split
        self.manifest = Manifest.read(self.folder)
        part = self.manifest.splits[one_of("split", split, self.manifest.splits)]
        self.identities = list(part.label_map)
        self.image_size = (self.manifest.image.height, self.manifest.image.width)
        self.skipped: list[tuple[Path, str]] = []
        for entry in (part.index, *part.shards):
            self._check_size(entry.file, entry.size_bytes)
        if sum(shard.records for shard in part.shards) != part.images:
            raise ValueError(
                f"{self.folder}: the records in the shards of {split!r} do not add up to its images"
            )
        self._index = open_index(self.folder / part.index.file, part.images)
        # The rows at which the shards end, from which `_row` finds the shard of a record.
        self._ends = np.cumsum([shard.records for shard in part.shards], dtype=np.int64)
        self._shards = ShardFiles([self.folder / shard.file for shard in part.shards])
        # The rows of a selection and their new labels. None means all records, unchanged.
        self._rows: np.ndarray | None = None
        self._labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._index) if self._rows is None else len(self._rows)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int32 indices into `identities`. Without a selection, a view of the index file."""
        return self._index["label"] if self._labels is None else self._labels

    @property
    def rows(self) -> np.ndarray:
        """(N,) number of each record in the whole split. This set can be a selection of it."""
        return np.arange(len(self._index)) if self._rows is None else self._rows

    @property
    def entries(self) -> np.ndarray:
        """(N,) `gfkeras.data.records.shard_files.ENTRY`, read-only: the position of each record."""
        return self._index if self._rows is None else self._index[self._rows]

    @property
    def image_bytes(self) -> np.ndarray:
        """(N,) length of each JPEG in bytes."""
        return self.entries["image_length"]

    def read(self, number: int) -> bytes:
        """Returns the JPEG of one record.

        Raises ImageError if it is damaged, and IndexError if it does not exist.
        """
        data, entry = self._data(number)
        start = int(entry["image_offset"])
        return data[start : start + int(entry["image_length"])]

    def record(self, number: int) -> Record:
        """Returns one record with its name and identity. Raises the errors of `read`."""
        data, _ = self._data(number)
        try:
            return tfrecord.decode(data)
        except ValueError as error:
            raise ImageError(self._place(number), str(error)) from error

    def decode(
        self, numbers: Sequence[int] | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Decodes B records, in any order.

        Returns images (B, height, width, 3) uint8, a (B,) bool mask, and {place: reason}. The mask
        is False for an unreadable record, whose image is black. Its reason is in the dictionary.
        """
        return decode_batch(
            numbers, self.image_size, lambda number: decode_jpeg(self.read(number)), self._place
        )

    def load(self) -> Faces:
        """Decodes all labelled records, 37 KiB each at 112×112.

        Raises ValueError if none can be read.
        """
        labelled = np.flatnonzero(self.labels >= 0)
        images, read, reasons = self.decode(labelled)
        if not read.any():
            detail = next(iter(reasons.items()), ("", "it is empty"))
            raise ValueError(f"No labelled image of {self.folder} can be read. {detail}")
        numbers = labelled[read]
        labels = self.labels[numbers]
        present = np.unique(labels)
        return Faces(
            images=images[read],
            labels=np.searchsorted(present, labels),
            identities=[self.identities[label] for label in present],
            paths=[self.folder / self.record(number).name for number in numbers],
            skipped=[(Path(place), reason) for place, reason in reasons.items()],
            size=self.image_size,
        )

    def require_trainable(self) -> None:
        """Raises ValueError if there are fewer than two identities."""
        check_trainable(len(self.identities), len(self))

    def labelled(self) -> RecordSet:
        """Returns the records whose source names the person."""
        return self if (self.labels >= 0).all() else self._of(np.arange(len(self.identities)))

    def at_least(self, images: int) -> RecordSet:
        """Returns the records of people with at least `images` images, with consecutive labels."""
        if images <= 1:
            return self
        counts = np.bincount(self.labels[self.labels >= 0], minlength=len(self.identities))
        return self._of(np.flatnonzero(counts >= images))

    def select(self, identities: Iterable[str]) -> RecordSet:
        """Returns the records of these people, labelled in the given order.

        Raises ValueError for an unknown or repeated name.
        """
        names = list(identities)
        label_of = {name: label for label, name in enumerate(self.identities)}
        check_names(names, label_of, "people", self.folder)
        return self._of(np.array([label_of[name] for name in names], np.int64))

    def split(self, holdout: int) -> tuple[RecordSet, RecordSet]:
        """Returns the records without the last `holdout` identities, and the records of those.

        Raises ValueError if either part is empty.
        """
        check_holdout(holdout, len(self.identities), f" of {str(self.folder)!r}")
        labels = np.arange(len(self.identities))
        return self._of(labels[:-holdout]), self._of(labels[-holdout:])

    def verify(self) -> None:
        """Compares the SHA-256 of the files with the manifest.

        Raises ValueError for the first file that differs.
        """
        part = self.manifest.splits[self.split_name]
        for entry in (part.index, *part.shards):
            if (digest := sha256(self.folder / entry.file)) != entry.sha256:
                raise ValueError(
                    f"{self.folder / entry.file} is damaged: its SHA-256 is {digest}, "
                    f"expected {entry.sha256}"
                )

    def _of(self, labels: np.ndarray) -> RecordSet:
        # The extra last entry keeps the label −1 of images without a person.
        new_label = np.full(len(self.identities) + 1, -1, np.int32)
        new_label[labels] = np.arange(len(labels))
        mapped = new_label[self.labels]
        kept = np.flatnonzero(mapped >= 0)
        # A selection shares the index and the open shards, so nothing is checked or opened again.
        chosen = object.__new__(RecordSet)
        chosen.__dict__.update(self.__dict__)
        chosen.identities = [self.identities[label] for label in labels]
        chosen._rows = kept if self._rows is None else self._rows[kept]
        chosen._labels = mapped[kept]
        return chosen

    def _check_size(self, name: str, expected: int) -> None:
        path = self.folder / name
        # A manifest can come from elsewhere. It must not name files outside its own folder.
        if Path(name).name != name:
            raise ValueError(f"{self.folder}: {name!r} is not the name of a file in this folder")
        size = path.stat().st_size if path.is_file() else None
        if size != expected:
            state = "missing" if size is None else f"{size} bytes long, expected {expected}"
            raise ValueError(f"{path} is {state}. Prepare the records again")

    def _row(self, number: int) -> tuple[int, int]:
        """Returns the row of a record in the index, and the number of its shard."""
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} records, counted from 0. Received: {number}")
        row = int(number) if self._rows is None else int(self._rows[number])
        return row, int(np.searchsorted(self._ends, row, side="right"))

    def _data(self, number: int) -> tuple[bytes, Any]:
        row, shard = self._row(number)
        entry = self._index[row]
        length = HEADER_BYTES + int(entry["length"]) + FOOTER_BYTES
        try:
            framed = self._shards.read(shard, int(entry["offset"]) - HEADER_BYTES, length)
            return unframe(framed), entry
        except (OSError, ValueError) as error:
            raise ImageError(self._place(number), str(error)) from error

    def _place(self, number: int) -> str:
        """Returns shard and number of a record, for messages. Its name may be unreadable."""
        row, shard = self._row(number)
        first = int(self._ends[shard - 1]) if shard else 0
        return f"{self._shards.paths[shard]}#{row - first}"
