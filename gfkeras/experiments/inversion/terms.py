"""The terms of the loss that an image is optimised by, as pure functions."""

from __future__ import annotations

from typing import Any

from keras import ops


def channel_statistics(inputs: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of each channel over a batch of feature maps.

    Args:
        inputs: (B, H, W, C) or (B, C), float.

    Returns:
        μ̃ and σ̃, both (C,) float32; σ̃² is that of the population, as batch normalisation's.
    """
    inputs = ops.cast(inputs, "float32")
    places = tuple(range(len(inputs.shape) - 1))
    mean = ops.mean(inputs, axis=places)
    variance = ops.mean(ops.square(inputs - mean), axis=places)
    # A channel that is the same everywhere has a standard deviation without a gradient.
    return mean, ops.sqrt(ops.maximum(variance, 1e-12))


def statistics_distance(inputs: Any, mean: Any, deviation: Any) -> Any:
    """‖μ̃ − μ‖² + ‖σ̃ − σ‖² of one layer (ArcFace, equation 8), a scalar.

    Args:
        inputs: what the layer is given, as of `channel_statistics`.
        mean: μ, (C,), the layer's moving mean.
        deviation: σ, (C,), the root of its moving variance.
    """
    found_mean, found_deviation = channel_statistics(inputs)
    return ops.sum(ops.square(found_mean - mean)) + ops.sum(ops.square(found_deviation - deviation))


def total_variation(images: Any) -> Any:
    """Σ of the squared differences between neighbouring pixels, a mean over the images.

    Args:
        images: (B, H, W, 3), in −1…1.

    Returns:
        A scalar.
    """
    down = images[:, 1:] - images[:, :-1]
    across = images[:, :, 1:] - images[:, :, :-1]
    total = ops.sum(ops.square(down)) + ops.sum(ops.square(across))
    return total / images.shape[0]


def squared_norm(images: Any) -> Any:
    """‖x‖², a mean over the images: (B, H, W, 3) in −1…1, to a scalar."""
    return ops.sum(ops.square(images)) / images.shape[0]
