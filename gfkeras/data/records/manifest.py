"""Manifest of a folder of training records, `manifest.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from gfkeras.files import PathLike, settings_text, sha256, write_text

MANIFEST_FILE = "manifest.json"
SKIPPED_FILE = "skipped.csv"
PAIRS_FILE = "pairs.csv"


class _Part(BaseModel):
    # Manifests can come from elsewhere, so unknown and mistyped fields are errors.
    model_config = ConfigDict(extra="forbid", strict=True)


class FileEntry(_Part):
    """A file next to the manifest, with the size and hash that show whether it is complete."""

    file: str
    size_bytes: NonNegativeInt
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """Returns the entry of a finished file."""
        return cls(file=path.name, size_bytes=path.stat().st_size, sha256=sha256(path))


class Shard(FileEntry):
    """A TFRecord file and its number of records."""

    records: PositiveInt


class Split(_Part):
    """Records that are used together: "train" or "heldout".

    `label_map` maps each person to a label, 0…identities − 1 in order. `index` is a file of
    `gfkeras.data.records.shard_files`, and `shards` are in the order of that index.
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
    """Numbers of the source's items by outcome, over all splits.

    `items` counts everything that the source named. `skipped` items have no record and are listed
    in `skipped.csv`. `fitted` items had another size and were scaled to fit, without alignment.
    `pairs` counts the rows of `pairs.csv`.
    """

    items: NonNegativeInt
    images: NonNegativeInt
    identities: NonNegativeInt
    skipped: NonNegativeInt
    fitted: NonNegativeInt = 0
    pairs: NonNegativeInt = 0


class Manifest(_Part):
    """The content of `manifest.json`, from `gfkeras` of the named version.

    `options` are those of `prepare` that affect the result. `template` has name and five points (x,
    y) of the alignment, or is None for images that were not aligned here. `skipped_reasons` counts
    the skipped items by kind. `splits` are "train", and "heldout" if identities were held out.
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
    def read(cls, folder: PathLike) -> Manifest:
        """Reads the manifest of a folder.

        Raises ValueError if it is missing, damaged or from another version.
        """
        path = Path(folder) / MANIFEST_FILE
        try:
            text = settings_text(path)
        except FileNotFoundError:
            raise ValueError(
                f"`folder` must contain training records ({MANIFEST_FILE}, written by "
                f"`gfkeras prepare` when it is done). Received: folder={str(folder)!r}"
            ) from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ValueError(
                f"{path} is damaged or from another version of gfkeras: {place}: {first['msg']}"
            ) from None

    def write(self, folder: PathLike) -> None:
        """Writes `manifest.json`. A failed write leaves no partial file."""
        write_text(Path(folder) / MANIFEST_FILE, self.model_dump_json(indent=1) + "\n")
