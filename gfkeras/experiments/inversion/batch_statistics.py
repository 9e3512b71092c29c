"""Batch statistics of a network, and the other terms of an inversion's loss."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops


def channel_statistics(inputs: Any) -> tuple[Any, Any]:
    """μ̃ and σ̃, (C,) float32, of each channel over a batch of feature maps (B, H, W, C) or (B, C).

    σ̃² is that of the population, as batch normalisation's.
    """
    inputs = ops.cast(inputs, "float32")
    places = tuple(range(len(inputs.shape) - 1))
    mean = ops.mean(inputs, axis=places)
    variance = ops.mean(ops.square(inputs - mean), axis=places)
    # A channel that is the same everywhere has a standard deviation without a gradient.
    return mean, ops.sqrt(ops.maximum(variance, 1e-12))


def statistics_distance(inputs: Any, mean: Any, deviation: Any) -> Any:
    """‖μ̃ − μ‖² + ‖σ̃ − σ‖² of one layer (ArcFace, equation 8), a scalar; all are (C,)."""
    found_mean, found_deviation = channel_statistics(inputs)
    return ops.sum(ops.square(found_mean - mean)) + ops.sum(ops.square(found_deviation - deviation))


def total_variation(images: Any) -> Any:
    """Σ of the squared differences between neighbouring pixels, a mean over images (B, H, W, 3)."""
    down = images[:, 1:] - images[:, :-1]
    across = images[:, :, 1:] - images[:, :, :-1]
    total = ops.sum(ops.square(down)) + ops.sum(ops.square(across))
    return total / images.shape[0]


def squared_norm(images: Any) -> Any:
    """‖x‖², a mean over the images: (B, H, W, 3) in −1…1, to a scalar."""
    return ops.sum(ops.square(images)) / images.shape[0]


def batch_normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Every batch normalisation of a model, once; also those inside nested models and layers."""
    layers = dict.fromkeys(model._flatten_layers())
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


@contextlib.contextmanager
def recorded_inputs(
    layers: list[keras.layers.BatchNormalization],
) -> Iterator[list[tuple[keras.layers.BatchNormalization, Any]]]:
    """A list that gets (layer, what it is called with) for each call within the block.

    Each layer's own `call` takes the note, so this works for layers wherever they are, functional
    or not, eagerly and while a step is traced.
    """
    seen: list[tuple[keras.layers.BatchNormalization, Any]] = []

    def noting(layer: keras.layers.BatchNormalization) -> Any:
        call = layer.call

        def noted(inputs: Any, *arguments: Any, **named: Any) -> Any:
            seen.append((layer, inputs))
            return call(inputs, *arguments, **named)

        return noted

    for layer in layers:
        layer.call = noting(layer)
    try:
        yield seen
    finally:
        for layer in layers:
            # Uncovers the method of the class.
            del layer.call


class BatchStatistics:
    """The statistics that a model's batch normalisations hold, as a prior on images.

    A layer counts where it gets at least `least_values` values of a channel in a batch: of a
    feature map each image gives one for each place, but after a global pooling or an FC an image
    gives a single one, and the statistics of a small batch say who is in it rather than how faces
    are. `moving` has mean and standard deviation of each layer, (C,) float32. A model without batch
    normalisation raises ValueError.
    """

    def __init__(self, model: keras.Model, least_values: int = 1):
        self.layers = batch_normalizations(model)
        if not self.layers:
            raise ValueError(
                "`model` must have batch normalisation, whose statistics say how a face looks. "
                f"Received: {model.name!r}, which has none"
            )
        self.least_values = least_values
        self.moving = {
            id(layer): (
                np.asarray(ops.convert_to_numpy(layer.moving_mean), np.float32),
                np.sqrt(np.asarray(ops.convert_to_numpy(layer.moving_variance), np.float32)),
            )
            for layer in self.layers
        }

    def distance(self, seen: list[tuple[keras.layers.BatchNormalization, Any]]) -> Any:
        """Σ ‖μ̃ − μ‖² + ‖σ̃ − σ‖² over the layers that count, a scalar, of inputs as
        `recorded_inputs` saw.
        """
        total = ops.zeros((), "float32")
        for layer, inputs in seen:
            if math.prod(inputs.shape[:-1]) >= self.least_values:
                total = total + statistics_distance(inputs, *self.moving[id(layer)])
        return total
