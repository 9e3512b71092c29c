"""Optimising images towards embeddings."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.errors import positive_int, wrong, wrong_value
from gfkeras.experiments.inversion.objective import (
    InversionSettings,
    Objective,
    compiled,
    draw_view,
    require_backend,
    seen_through,
    value_and_gradient,
    view_matrix,
)
from gfkeras.experiments.inversion.targets import Targets
from gfkeras.models.properties import as_outputs

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
# Reading the terms waits for the device and delays the next step, so do it rarely.
_REPORT_EVERY = 10

# Called with (steps done, all steps, terms of the step).
Progress = Callable[[int, int, dict[str, float]], None]
# Called with (steps done, positions of the images, images as uint8).
Pictures = Callable[[int, np.ndarray, np.ndarray], None]


def invert(
    model: keras.Model,
    targets: Targets,
    settings: InversionSettings | None = None,
    *,
    batch_size: int = 16,
    seed: int = 0,
    every: int | None = None,
    progress: Progress | None = None,
    on_pictures: Pictures | None = None,
) -> np.ndarray:
    """Generates an image for each target from noise, using only the model.

    Adam optimises the images. The model's embedding of an image should equal the target, and the
    batch normalisations should see the statistics of their training (ArcFace, arXiv 1801.07698v4,
    section 3.3). The statistics are computed over a batch, so an image also depends on the other
    images in its batch. A larger batch of different people gives better images.

    Args:
        model: a backbone or a GroupFace with batch normalisation.
        targets: the embeddings to reach.
        settings: weights, steps and views.
        batch_size: number of images optimised together. More targets are split into even parts.
        seed: seed of noise and views. The same seed gives the same images on one machine. Another
            backend gives the same images except for rounding.
        every: also hand out images after this many steps, besides the noise and the result.
        progress: called after every tenth step and the last with (steps done, steps, terms).
        on_pictures: called with (steps done, positions among the targets, images).

    Returns:
        (N, S, S, 3) uint8, RGB.

    Raises:
        ValueError: for a model without batch normalisation, or targets of another dimension.

    Example:
        faces = Embedder(model)(photos)
        images = invert(model, Targets(["a", "b"], faces.embedding))
    """
    settings = settings or InversionSettings()
    positive_int("batch_size", batch_size)
    if every is not None:
        positive_int("every", every)
    size = _image_size(model)
    coarsest = max(settings.coarse)
    if size % coarsest or size // coarsest < 2:
        raise wrong_value("coarse", f"divide the image's {size} pixels", settings.coarse)
    targets.require_dimension(int(as_outputs(model.output)["embedding"].shape[-1]))
    objective = Objective(model, settings, targets.centers)
    step = _compiled_step(objective)
    count = len(targets.names)
    # Even parts: a small last batch would have poor statistics.
    parts = np.array_split(np.arange(count), math.ceil(count / batch_size))
    images = np.zeros((count, size, size, 3), np.uint8)
    total, done = settings.steps * len(parts), 0
    for number, places in enumerate(parts):
        for reached, values, terms in _optimized(
            step, targets, places, settings, size, np.random.default_rng((seed, number))
        ):
            last = reached == settings.steps
            done += bool(reached)
            if progress is not None and reached and (last or reached % _REPORT_EVERY == 0):
                progress(done, total, {k: float(ops.convert_to_numpy(v)) for k, v in terms.items()})
            # Copying images from the device takes time, so copy only those that are used.
            shown = not reached or last or (every is not None and reached % every == 0)
            if shown and (last or on_pictures is not None):
                pixels = as_pixels(ops.convert_to_numpy(values), size)
                if on_pictures is not None:
                    on_pictures(reached, places, pixels)
                if last:
                    images[places] = pixels
    return images


def _optimized(
    step: Callable[..., Any],
    targets: Targets,
    places: np.ndarray,
    settings: InversionSettings,
    size: int,
    rng: np.random.Generator,
) -> Iterator[tuple[int, Any, dict[str, Any]]]:
    """Yields (steps done, images, terms): first for the noise, then after each step."""
    embedding = targets.embedding[places]
    labels = np.zeros(len(places), np.int32) if targets.labels is None else targets.labels[places]
    spans = settings.spans()
    # The first span has the coarsest resolution.
    resolution = size // spans[0][0]
    images: Any = rng.standard_normal((len(places), resolution, resolution, 3)).astype(np.float32)
    yield 0, images, {}
    reached = 0
    for divisor, steps, full_rate in spans:
        resolution = size // divisor
        if images.shape[1] != resolution:
            larger = view_matrix(resolution, images.shape[1])
            images = seen_through(images, larger, larger)
        # Each resolution starts with fresh moments: those of smaller images do not fit.
        first = second = np.zeros(images.shape, np.float32)
        for number in range(steps):
            rate = full_rate * 0.5 * (1 + math.cos(math.pi * number / steps))
            # Adam's bias correction for moments that start at zero.
            rate *= math.sqrt(1 - _BETAS[1] ** (number + 1)) / (1 - _BETAS[0] ** (number + 1))
            view = draw_view(rng, size, resolution, settings.shift, settings.mirror)
            images, first, second, terms = step(
                images, first, second, *view, np.float32(rate), embedding, labels
            )
            reached += 1
            yield reached, images, terms


def _compiled_step(objective: Objective) -> Callable[..., Any]:
    """Returns a compiled step of Adam on the images, clipped to the range of pixels."""
    require_backend()

    def step(
        images: Any, first: Any, second: Any, rows: Any, columns: Any, rate: Any, *target: Any
    ) -> Any:
        terms, gradient = value_and_gradient(objective, images, rows, columns, *target)
        first = _BETAS[0] * first + (1 - _BETAS[0]) * gradient
        second = _BETAS[1] * second + (1 - _BETAS[1]) * ops.square(gradient)
        images = images - rate * first / (ops.sqrt(second) + _EPSILON)
        return ops.clip(images, -1.0, 1.0), first, second, terms

    return compiled(step, objective.variables)


def as_pixels(images: np.ndarray, size: int) -> np.ndarray:
    """Converts images in −1…1 at any resolution to (B, size, size, 3) uint8."""
    images = np.clip(images, -1, 1)
    if images.shape[1] != size:
        larger = view_matrix(size, images.shape[1])
        images = np.einsum("wv,hu,buvc->bhwc", larger, larger, images, optimize=True)
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _image_size(model: keras.Model) -> int:
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[1] != shape[2] or not shape[1]:
        raise wrong("model", "take square images (B, S, S, 3)", f"a model with input shape {shape}")
    return int(shape[1])
