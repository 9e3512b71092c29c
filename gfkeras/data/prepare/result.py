"""What a preparation came to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class PrepareResult:
    """The summary of a run of `prepare`.

    Attributes:
        out: the folder of the records.
        items: what the source named.
        images: records written, over all splits.
        identities: people, over all splits.
        heldout_images, heldout_identities: those of the split "heldout".
        skipped: items without a record; `skipped.csv` lists them.
        skipped_reasons: how many of each kind.
        fitted: records of images that were scaled to fit, unaligned.
        shards: files written.
        size_bytes: of the shards.
        seconds: of this run.
        resumed: whether an earlier run had done a part, or all.
    """

    out: Path
    items: int
    images: int
    identities: int
    heldout_images: int
    heldout_identities: int
    skipped: int
    skipped_reasons: dict[str, int]
    fitted: int
    shards: int
    size_bytes: int
    seconds: float
    resumed: bool

    def to_json(self) -> dict[str, Any]:
        """All fields, the path as text."""
        return dataclasses.asdict(self) | {"out": str(self.out)}
