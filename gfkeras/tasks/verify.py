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
    """The cosines and errors of an artefact's embeddings, and the skipped files."""

    parity: ParityResult
    # (path, reason) of unreadable images, then of other files in the folder.
    skipped: list[tuple[Path, str]]

    @property
    def passed(self) -> bool:
        """Whether the artefact is within the tolerance of its precision."""
        return self.parity.passed()

    def require(self) -> None:
        """Raises ValueError with the measurements if `passed` is false."""
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
        artefact: file or folder that `export` wrote.
        model: the preset, model folder or artefact to compare with.
        data: folder with one folder of aligned faces per person.
        limit: number of images, evenly spread over the folder.
        threads: threads of the artefact's runtime. By default, the runtime chooses.

    Returns:
        A `Verification`. Its `require` raises if the artefact is not within the tolerance of its
        precision (`gfkeras.export.TOLERANCES`).

    Raises:
        ValueError: if the folder has no images or a model cannot be read.

    Example:
        result = verify("face.onnx", "runs/orl/last", "faces")
        print(result.passed, result.parity.min_cosine)
    """
    folder = FaceFolder(data)
    # Compare with the Keras model of a preset: its bundled artefact is an export itself.
    candidate = Embedder(artefact, num_threads=threads)
    reference = Embedder(keras_source(model))
    from gfkeras.export.parity import verify as compare_embeddings

    # Evenly spread, so that a small sample shows many people.
    chosen = np.linspace(0, len(folder) - 1, min(limit, len(folder))).astype(int)
    folder.paths = [folder.paths[i] for i in chosen]
    folder.labels = folder.labels[chosen]
    faces = folder.load(size=candidate.image_size)
    parity = compare_embeddings(reference, candidate, faces.images)
    # `load` also lists people without images, which here only means that none was chosen.
    chosen_paths = set(folder.paths)
    unreadable = [each for each in faces.skipped if each[0] in chosen_paths]
    return Verification(parity, unreadable + folder.skipped)
