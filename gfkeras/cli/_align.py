"""Former names of `options` and of `gfkeras.tasks.alignment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfkeras.cli.options import (
    AlignedOption,
    AlignOption,
    DetectorOption,
    FaceOption,
    PhotoDetectorOption,
    PhotoFaceOption,
)

__all__ = [
    "AlignOption",
    "AlignedOption",
    "DetectorOption",
    "FaceOption",
    "PhotoDetectorOption",
    "PhotoFaceOption",
]


def make_aligner(align: bool, detector: Path | None, face: str | None, size: int) -> Any:
    """`gfkeras.tasks.alignment.optional_alignment`."""
    from gfkeras.tasks.alignment import optional_alignment

    return optional_alignment(align, detector, face)(size)


def photo_aligner(aligned: bool, detector: Path | None, face: str | None, size: int) -> Any:
    """`gfkeras.tasks.alignment.photo_alignment`."""
    from gfkeras.tasks.alignment import photo_alignment

    return photo_alignment(aligned, detector, face)(size)
