"""A plot in a file, and the faces that it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.backend import load_keras
from gfkeras.data import FaceFolder
from gfkeras.errors import require
from gfkeras.files import PathLike
from gfkeras.inference import Embedder
from gfkeras.tasks.alignment import Alignment, face_reader, make_alignment
from gfkeras.tasks.reporting import Progress, skipped_json, stage_progress

if TYPE_CHECKING:
    from gfkeras.experiments.figures import ChosenImages


@dataclass(frozen=True)
class Plot:
    """A plot that was drawn into the file `path`."""

    path: Path
    # The numbers in the plot, for JSON.
    numbers: dict[str, Any]
    # (file, reason) of unusable images, or None for a plot without images.
    skipped: list[tuple[Path, str]] | None = None
    # (label, text) of the most important numbers.
    summary: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The numbers, and the images that were left out."""
        return self.numbers | ({} if self.skipped is None else skipped_json(self.skipped))


def check_out(out: PathLike) -> Path:
    """Returns the file to draw. Raises an error if drawing cannot work.

    Tasks call it before they load a model.
    """
    if Path(out).suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"`out` must end in .png or .svg. Received: out={str(out)!r}")
    require("matplotlib", "plots")
    return Path(out)


def of_model(model: PathLike, data: PathLike) -> str:
    """Returns the title of a plot of a model's embeddings."""
    return f"{Path(model).name} on {Path(data).name}"


def opened(
    out: PathLike,
    data: PathLike,
    identities: Sequence[str] | PathLike | None,
    align: bool,
    detector: Path | None,
    face: str | None,
) -> tuple[Path, Alignment, FaceFolder]:
    """Returns the checked file, alignment and folder, before a model is loaded."""
    out = check_out(out)
    folder = FaceFolder(data, identities)
    alignment = make_alignment(align, detector, face)
    load_keras()
    return out, alignment, folder


class PlotFaces:
    """The images of a plot, and the outputs of networks for them."""

    def __init__(self, chosen: ChosenImages, alignment: Alignment, progress: Progress | None):
        self.chosen, self._alignment, self._progress = chosen, alignment, progress
        self.skipped: list[tuple[Path, str]] = []

    def reader(self, embedder: Embedder) -> Callable[[Path], np.ndarray]:
        """Returns a function that reads a face in the network's image size."""
        return face_reader(self._alignment(embedder.image_size), embedder.image_size)

    def outputs(
        self, embedder: Embedder, *keys: str, optional: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Returns outputs of a network, with one row per usable image.

        Removes unusable images from `chosen`, so that the next network gets the same images.
        """
        from gfkeras.experiments.figures import network_outputs

        found = network_outputs(
            embedder, self.chosen.paths, keys, optional, self.reader(embedder),
            stage_progress(self._progress, "Embedding"),
        )  # fmt: skip
        self.chosen = self.chosen.take(found.index)
        self.skipped += found.skipped
        return found.values
