"""The options of the commands that align photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gfkeras.data.alignment import FaceAligner

AlignOption = Annotated[
    bool, typer.Option("--align", help="These are photos: find the face in each and align it.")
]
DetectorOption = Annotated[
    Path | None,
    typer.Option(help="With --align: the YuNet file; downloaded once by default."),
]
FaceOption = Annotated[
    str | None,
    typer.Option(help="With --align: largest (default) or central, of several faces in a photo."),
]


def make_aligner(
    align: bool, detector: Path | None, face: str | None, size: int
) -> FaceAligner | None:
    """The aligner that the options ask for; None without --align.

    Raises:
        ValueError: for a detector or face without --align, an unknown choice of face, and a
            detector that cannot be read.
    """
    from gfkeras.errors import one_of

    if not align:
        for name, value in (("detector", detector), ("face", face)):
            if value is not None:
                raise ValueError(f"`{name}` needs --align. Received: {name}={str(value)!r}")
        return None
    choose = one_of("face", face or "largest", ("largest", "central"))
    from gfkeras.data.alignment import FaceAligner, FaceDetector

    return FaceAligner(FaceDetector(detector), choose=choose, size=size)
