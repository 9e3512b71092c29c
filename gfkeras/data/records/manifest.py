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
    model_config = ConfigDict(extra="forbid", strict=True)


class FileEntry(_Part):
    """A file beside the manifest, with what tells that it is whole."""

    file: str
    size_bytes: NonNegativeInt
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """The entry of a finished file."""
        return cls(file=path.name, size_bytes=path.stat().st_size, sha256=sha256(path))


class Shard(FileEntry):
    """A TFRecord file and how many records it holds."""

    records: PositiveInt


class Split(_Part):
    """Records that are used together: "train", or "heldout".

    `label_map` gives each person's label, 0…identities − 1 in order; `index` is the file of
    `gfkeras.data.records.shard_files`, and `shards` come in its order.
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
    """Counts of the source's items by their outcome, over all splits.

    `items` are all that the source named. `skipped` ones gave no record, as `skipped.csv` lists;
    `fitted` ones had another size and were scaled to fit, unaligned. `pairs` are in `pairs.csv`.
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
        template: name and five points (x, y) of the alignment; None for images taken as they came.
        image, counts: size and encoding; totals.
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
    def read(cls, folder: PathLike) -> Manifest:
        """Reads the manifest of a folder; ValueError if missing, damaged or of another version."""
        path = Path(folder) / MANIFEST_FILE
        try:
            text = settings_text(path)
        except FileNotFoundError:
            raise ValueError(
                f"`folder` must hold training records ({MANIFEST_FILE}, written by "
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
                f"{path} is damaged or of another version of gfkeras: {place}: {first['msg']}"
            ) from None

    def write(self, folder: PathLike) -> None:
        """Writes `manifest.json`, whole or not at all."""
        write_text(Path(folder) / MANIFEST_FILE, self.model_dump_json(indent=1) + "\n")
