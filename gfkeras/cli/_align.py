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

AlignedOption = Annotated[
    bool,
    typer.Option("--aligned", help="Not photos: faces of 112x112, aligned by five points already."),
]
PhotoDetectorOption = Annotated[
    Path | None, typer.Option("--detector", help="The YuNet file; downloaded once by default.")
]
PhotoFaceOption = Annotated[
    str | None, typer.Option("--face", help="largest (default) or central, of several in a photo.")
]


def photo_aligner(
    aligned: bool,
    detector: Path | None,
    face: str | None,
    size: int,
    choose: str = "largest",
    min_size: float = 0,
) -> FaceAligner | None:
    """The aligner of a command that takes photos; None with --aligned.

    Args:
        choose: of several faces in a photo, where --face does not say.
        min_size: faces of fewer pixels are left out.
    """
    from gfkeras.errors import one_of

    if aligned:
        for name, value in (("detector", detector), ("face", face)):
            if value is not None:
                raise ValueError(f"`{name}` is of no use with --aligned. Received: {value}")
        return None
    allowed = ("largest", "central", "all") if choose == "all" else ("largest", "central")
    chosen = one_of("face", face or choose, allowed)
    from gfkeras.data.alignment import FaceAligner, FaceDetector

    found = FaceDetector(detector, min_face_size=min_size)
    return FaceAligner(found, choose=chosen, size=size)


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
