"""What the commands of `gfkeras plot` share: options, faces, pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.cli._align import make_aligner
from gfkeras.cli._output import say

if TYPE_CHECKING:
    import numpy as np

    from gfkeras.data import FaceFolder
    from gfkeras.experiments.figures import ChosenImages
    from gfkeras.inference import Embedder

DataOption = Annotated[Path, typer.Option(help="A folder with one folder of faces per person.")]
OutOption = Annotated[
    Path, typer.Option(metavar="FILE", help="The picture to write: .png or .svg.")
]
IdentitiesOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|FILE",
        help="Whom to take: a name, again for each, or a text file with one a line; all by "
        "default.",
    ),
]
ImagesOption = Annotated[
    int | None, typer.Option(min=1, help="At most so many images, drawn from all; all by default.")
]
SeedOption = Annotated[int, typer.Option(help="Of what is drawn.")]


def check_out(out: Path) -> None:
    """Raises before the work what `draw` would after it."""
    from gfkeras.errors import require

    if out.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"`out` must end in .png or .svg. Received: out={str(out)!r}")
    require("matplotlib", "plots")


def draw(out: Path, figure: Any) -> None:
    """Writes a picture and says so."""
    from gfkeras.evaluation.plots import save_figure

    say(f"Picture: {save_figure(figure, out)}")


def open_faces(data: Path, identities: list[str] | None) -> FaceFolder:
    """The folder, and of it the people of --identities."""
    from gfkeras.data import FaceFolder

    if identities and len(identities) == 1 and Path(identities[0]).is_file():
        return FaceFolder(data, identities[0])
    return FaceFolder(data, identities or None)


def face_reader(
    embedder: Embedder, align: bool, detector: Path | None, face: str | None
) -> Callable[[Path], np.ndarray]:
    """From a file to a face of the size that the network takes."""
    from gfkeras.data.images import read_image

    aligner = make_aligner(align, detector, face, embedder.image_size)
    return aligner or (lambda path: read_image(path, embedder.image_size))


class Faces:
    """The pictures that a figure is of, and what networks return for them.

    Args:
        chosen: the pictures.
        align, detector, face: options of the command.
    """

    def __init__(self, chosen: ChosenImages, align: bool, detector: Path | None, face: str | None):
        self.chosen = chosen
        self._options = (align, detector, face)
        self.skipped: list[tuple[Path, str]] = []

    def reader(self, embedder: Embedder) -> Callable[[Path], np.ndarray]:
        """From a file to a face of the size that the network takes."""
        return face_reader(embedder, *self._options)

    def outputs(
        self, embedder: Embedder, *keys: str, optional: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Outputs of a network, a row for each picture that can be used.

        Others leave `chosen` and are said once; so all networks get the same pictures.
        """
        from gfkeras.cli.progress import embedding_bar
        from gfkeras.experiments.figures import network_outputs

        with embedding_bar(quiet=False) as progress:
            found = network_outputs(
                embedder, self.chosen.paths, keys, optional, self.reader(embedder), progress
            )
        self.chosen = self.chosen.take(found.index)
        self.skipped += found.skipped
        for path, reason in found.skipped[:10]:
            say(f"skipped {path}: {reason}")
        return found.values

    def to_json(self) -> dict[str, Any]:
        """What was left out."""
        return {
            "skipped": len(self.skipped),
            "skipped_files": [[str(path), reason] for path, reason in self.skipped],
        }
