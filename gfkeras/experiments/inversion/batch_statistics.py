"""Batch statistics of a network, and the image terms of an inversion's loss."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.errors import wrong


def channel_statistics(inputs: Any) -> tuple[Any, Any]:
    """Returns μ̃ and σ̃, (C,) float32, of each channel over a batch (B, H, W, C) or (B, C).

    σ̃² is the population variance, as in batch normalisation.
    """
    inputs = ops.cast(inputs, "float32")
    places = tuple(range(len(inputs.shape) - 1))
    mean = ops.mean(inputs, axis=places)
    variance = ops.mean(ops.square(inputs - mean), axis=places)
    # A constant channel has variance 0, where the square root has no finite gradient.
    return mean, ops.sqrt(ops.maximum(variance, 1e-12))


def statistics_distance(inputs: Any, mean: Any, deviation: Any) -> Any:
    """Returns ‖μ̃ − μ‖² + ‖σ̃ − σ‖² of one layer (ArcFace, equation 8), a scalar. All are (C,)."""
    found_mean, found_deviation = channel_statistics(inputs)
    return ops.sum(ops.square(found_mean - mean)) + ops.sum(ops.square(found_deviation - deviation))


def total_variation(images: Any) -> Any:
    """Returns Σ of squared differences between neighbouring pixels, averaged over (B, H, W, 3)."""
    down = images[:, 1:] - images[:, :-1]
    across = images[:, :, 1:] - images[:, :, :-1]
    total = ops.sum(ops.square(down)) + ops.sum(ops.square(across))
    return total / images.shape[0]


def squared_norm(images: Any) -> Any:
    """Returns ‖x‖² averaged over images (B, H, W, 3) in −1…1, a scalar."""
    return ops.sum(ops.square(images)) / images.shape[0]


def batch_normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns every batch normalisation of a model once, also from nested models and layers."""
    # Keras has no public function that also lists the layers inside nested models.
    layers = dict.fromkeys(model._flatten_layers())
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


@contextlib.contextmanager
def recorded_inputs(
    layers: list[keras.layers.BatchNormalization],
) -> Iterator[list[tuple[keras.layers.BatchNormalization, Any]]]:
    """Yields a list that collects (layer, inputs) for each call within the block.

    Each layer's own `call` is replaced. This works for all layers, in functional models or not,
    eagerly and while a step is traced.
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
            # Remove the replacement, so that the method of the class is used again.
            del layer.call


class BatchStatistics:
    """The statistics in a model's batch normalisations, used as a prior on images.

    A layer counts if it gets at least `least_values` values of each channel in a batch. In a
    feature map, each image gives one value per position. After a global pooling or an FC, each
    image gives only one value. The statistics of a small batch then describe the people in it, and
    not faces in general. `moving` has the mean and standard deviation of each layer, (C,) float32.
    Raises ValueError for a model without batch normalisation.
    """

    def __init__(self, model: keras.Model, least_values: int = 1):
        self.layers = batch_normalizations(model)
        if not self.layers:
            expected = "have batch normalisation, whose statistics describe faces"
            raise wrong("model", expected, f"{model.name!r}, which has none")
        self.least_values = least_values
        self.moving = {
            id(layer): (
                np.asarray(ops.convert_to_numpy(layer.moving_mean), np.float32),
                np.sqrt(np.asarray(ops.convert_to_numpy(layer.moving_variance), np.float32)),
            )
            for layer in self.layers
        }

    def distance(self, seen: list[tuple[keras.layers.BatchNormalization, Any]]) -> Any:
        """Returns Σ ‖μ̃ − μ‖² + ‖σ̃ − σ‖² over the layers that count, a scalar.

        `seen` is the list that `recorded_inputs` collected.
        """
        total = ops.zeros((), "float32")
        for layer, inputs in seen:
            if math.prod(inputs.shape[:-1]) >= self.least_values:
                total = total + statistics_distance(inputs, *self.moving[id(layer)])
        return total
