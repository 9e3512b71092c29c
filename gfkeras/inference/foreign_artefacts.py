"""Artefacts without a card: a first run in a child process, and scaling of their pixels.

Without a card, a .tflite or .onnx file or a SavedModel does not state which range of pixels it
expects. In the wrong range it still returns embeddings, but they are of little use.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gfkeras.data.images import face_size
from gfkeras.errors import wrong_value
from gfkeras.inference.runtimes import LiteRTRuntime, OnnxRuntime, Runtime

# Passes pixels unchanged to any artefact. Only time and memory are measured with it.
ANY_RANGE = "any"
InputRange = tuple[float, float] | Sequence[float] | str | None
_CANDIDATES = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
_PEOPLE, _IMAGES = 4, 3
# Another range is also reported as likely if its gap is at least this share of the best gap.
_LIKELY = 0.7


@dataclass(frozen=True)
class ModelFile(os.PathLike[str]):
    """A file, folder or preset, and the options of `Embedder` for opening it.

    `Embedder` and all tasks accept it instead of a path.
    """

    path: str
    input_range: InputRange = None
    trust: bool = False

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path


class InputScaling:
    """A runtime that takes pixels of 0…255 and passes them to another one as `low` to `high`."""

    def __init__(self, runtime: Runtime, low: float, high: float):
        self._runtime, self.low, self.high = runtime, low, high
        self._factor = np.float32((high - low) / 255)
        if hasattr(runtime, "copy"):
            self.copy = lambda: InputScaling(runtime.copy(), low, high)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self._runtime.run(images * self._factor + np.float32(self.low))


def scaled(
    runtime: Runtime, path: Path, card: dict[str, Any] | None, input_range: InputRange
) -> Runtime:
    """Returns a runtime that takes 0…255 and gives the artefact the range that it expects.

    Raises ValueError if the artefact has no card and no range is given (the message reports a probe
    of common ranges), or if it has a card and a range is given.
    """
    if input_range == ANY_RANGE:
        return runtime
    if card is not None:
        if input_range is not None:
            raise ValueError(
                f"`input_range` is for artefacts without a card. {path} has a card, takes 0…255 "
                f"and normalises inside. Received: input_range={input_range!r}"
            )
        return runtime
    if input_range is None:
        raise ValueError(
            f"{path} has no card that states how its pixels must be normalised. Pass "
            "`input_range` (--input-range LOW,HIGH), the numbers that 0 and 255 become. "
            f"{_probed(runtime)}"
        )
    low, high = check_range(input_range)
    return InputScaling(runtime, low, high)


def check_range(input_range: Any) -> tuple[float, float]:
    """Returns (low, high) as floats. Raises ValueError unless both are finite and low < high."""
    try:
        low, high = (float(value) for value in input_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not np.isfinite([low, high]).all() or not low < high or isinstance(input_range, str):
        expected = "be two finite numbers, the lower one first, such as (-1, 1)"
        raise wrong_value("input_range", expected, input_range)
    return low, high


def _probed(runtime: Runtime) -> str:
    """Describes how well each of the common ranges separates drawn faces."""
    from gfkeras.data.synthetic import synthetic_faces

    faces, labels = synthetic_faces(_PEOPLE, _IMAGES)
    height, width = face_size(runtime.image_size)
    resized = [Image.fromarray(face).resize((width, height)) for face in faces]
    images = np.stack([np.asarray(face) for face in resized])
    same = (labels[:, None] == labels)[np.triu_indices(len(labels), 1)]
    found = []
    for low, high in _CANDIDATES:
        embedding = _embedded(InputScaling(runtime, low, high), images)
        if embedding is None:
            return "The probe's faces have no embeddings."
        cosines = (embedding @ embedding.T)[np.triu_indices(len(labels), 1)]
        gap = float(cosines[same].mean() - cosines[~same].mean())
        found.append((gap, f"{low:g},{high:g}", float(cosines[~same].mean())))
    found.sort(reverse=True)
    listed = "; ".join(f"{name}: {between:.2f}, {gap:+.2f}" for gap, name, between in found)
    # Drawn faces exclude ranges that are far off. They cannot distinguish 0,1 from -1,1.
    likely = " or ".join(name for gap, name, _ in found if gap >= _LIKELY * found[0][0])
    return (
        f"A probe with {_PEOPLE} drawn people, {_IMAGES} images each (mean cosine between people, "
        f"and the gain for images of one person): {listed}. Likely: {likely}; confirm it on "
        "pairs of real faces"
    )


def _embedded(runtime: InputScaling, images: np.ndarray) -> np.ndarray | None:
    """Returns L2-normalised embeddings, (N, D) float64, or None if they are not finite vectors."""
    step = runtime.batch_size or runtime.good_batch
    rows = []
    for start in range(0, len(images), step):
        batch = images[start : start + step].astype(np.float32)
        missing = (runtime.batch_size or len(batch)) - len(batch)
        padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        rows.append(runtime.run(padded)["embedding"][: len(batch)])
    embedding = np.concatenate(rows).astype(np.float64)
    if embedding.ndim != 2 or not np.isfinite(embedding).all():
        return None
    return embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)


def try_runtime(path: str | None) -> None:
    """Runs a .tflite or .onnx file in a child process. With None, it is only imported.

    A damaged file can end the child by a signal, which the parent reports as an error.
    """
    if path is None:
        return
    kind = LiteRTRuntime if path.lower().endswith(".tflite") else OnnxRuntime
    runtime = kind(Path(path), 1)
    shape = (runtime.batch_size or 2, *face_size(runtime.image_size), 3)
    # Black images are not enough: wrong tables can depend on the pixels.
    for images in (np.zeros(shape), np.random.default_rng(0).integers(0, 256, shape)):
        for name, value in runtime.run(images.astype(np.float32)).items():
            if len(value) != len(images) or value.dtype.kind not in "fiu":
                raise ValueError(
                    f"{path} must return a row of numbers for each image. Received: {name!r} of "
                    f"shape {value.shape} for {len(images)} images"
                )
