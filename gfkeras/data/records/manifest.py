"""Manifest of a folder of training records, `manifest.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from gfkeras.files import write_text

MANIFEST_FILE = "manifest.json"
SKIPPED_FILE = "skipped.csv"
PAIRS_FILE = "pairs.csv"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FileEntry(_Part):
    """A file beside the manifest, with what tells that it is whole."""

    file: str
    size_bytes: NonNegativeInt
    sha256: str


class Shard(FileEntry):
    """A TFRecord file and how many records it holds."""

    records: PositiveInt


class Split(_Part):
    """Records that are used together: "train", or "heldout".

    Attributes:
        images: how many records.
        identities: how many people.
        label_map: person → label, 0…identities − 1 in order.
        index: the file of `gfkeras.data.records.shard_files`.
        shards: in the order of the index.
    """

    images: NonNegativeInt
    identities: NonNegativeInt
    label_map: dict[str, int]
    index: FileEntry
    shards: list[Shard]


class ImageFormat(_Part):
    """Size and encoding of the stored images."""

    height: PositiveInt
    width: PositiveInt
    encoding: Literal["jpeg"] = "jpeg"


class Counts(_Part):
    """Counts of the source's items by their outcome.

    Attributes:
        items: images and other things that the source named.
        images: records written, over all splits.
        identities: people, over all splits.
        skipped: items that gave no record; `skipped.csv` lists them.
        fitted: records of images that had another size and were scaled to fit, unaligned.
        pairs: of a verification protocol, in `pairs.csv`.
    """

    items: NonNegativeInt
    images: NonNegativeInt
    identities: NonNegativeInt
    skipped: NonNegativeInt
    fitted: NonNegativeInt = 0
    pairs: NonNegativeInt = 0


class Manifest(_Part):
    """The whole of `manifest.json`.

    Attributes:
        format, version: of these files.
        gfkeras: the version that wrote them.
        source: format and path of what was prepared.
        options: those of `prepare` that bear on the result.
        template: name and five points (x, y) of the alignment; None where images
            were taken as they came.
        image: size and encoding.
        counts: totals.
        skipped_reasons: how many items were skipped for each kind of reason.
        splits: "train" and, where identities were held out, "heldout".
    """

    format: Literal["gfkeras-records"] = "gfkeras-records"
    version: Literal[1] = 1
    gfkeras: str
    source: dict[str, Any]
    options: dict[str, Any]
    template: dict[str, Any] | None
    image: ImageFormat
    counts: Counts
    skipped_reasons: dict[str, int]
    splits: dict[str, Split]

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Manifest:
        """Reads the manifest of a folder.

        Raises:
            ValueError: where there is none, or it is damaged or of another version.
        """
        path = Path(folder) / MANIFEST_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ValueError(
                f"`folder` must hold training records ({MANIFEST_FILE}, written by "
                f"`gfkeras prepare` when it is done). Received: folder={str(folder)!r}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ValueError(
                f"{path} is damaged or of another version of gfkeras: {place}: {first['msg']}"
            ) from None

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Writes `manifest.json`, whole or not at all."""
        write_text(Path(folder) / MANIFEST_FILE, self.model_dump_json(indent=1) + "\n")
