"""Verification of an artefact against its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.data import FaceFolder
from gfkeras.files import PathLike
from gfkeras.inference import Embedder
from gfkeras.tasks.reporting import skipped_json
from gfkeras.zoo.preset_files import keras_source

if TYPE_CHECKING:
    from gfkeras.export import ParityResult


@dataclass(frozen=True)
class Verification:
    """Cosines and errors of an artefact's embeddings, and what of the data could not be used."""

    parity: ParityResult
    # (path, reason) of images that cannot be read, then of what else lies in the folder.
    skipped: list[tuple[Path, str]]

    @property
    def passed(self) -> bool:
        """Whether the artefact keeps the tolerance of its precision."""
        return self.parity.passed()

    def require(self) -> None:
        """Raises ValueError with the measurements where `passed` is false."""
        self.parity.require()

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras verify --json`."""
        return self.parity.to_json() | skipped_json(self.skipped)


def verify(
    artefact: PathLike,
    model: PathLike,
    data: PathLike,
    *,
    limit: int = 200,
    threads: int | None = None,
) -> Verification:
    """Compares an artefact's embeddings with the model's, image by image.

    Args:
        artefact: what `export` wrote.
        model: the preset, model folder or artefact to compare with.
        data: a folder with one folder of aligned faces per person.
        limit: how many images, evenly spread.
        threads: threads of the artefact's runtime; its own choice by default.

    Returns:
        A `Verification`. Its `require` raises where the artefact does not keep the tolerance of its
        precision (`gfkeras.export.TOLERANCES`).

    Raises:
        ValueError: for a folder without images, and models that cannot be read.

    Example:
        result = verify("face.onnx", "runs/orl/last", "faces")
        print(result.passed, result.parity.min_cosine)
    """
    folder = FaceFolder(data)
    candidate = Embedder(artefact, num_threads=threads)
    reference = Embedder(keras_source(model))
    from gfkeras.export.parity import verify as compare_embeddings

    chosen = np.linspace(0, len(folder) - 1, min(limit, len(folder))).astype(int)
    folder.paths = [folder.paths[i] for i in chosen]
    folder.labels = folder.labels[chosen]
    faces = folder.load()
    parity = compare_embeddings(reference, candidate, faces.images)
    # Not everybody's images were chosen, so that no person is without one.
    chosen_paths = set(folder.paths)
    unreadable = [each for each in faces.skipped if each[0] in chosen_paths]
    return Verification(parity, unreadable + folder.skipped)
