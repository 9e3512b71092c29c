"""Margins as pure functions, and the replacement of the target's logit."""

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from gfkeras.layers.angular import arccos, sine
from gfkeras.layers.checks import in_classes


def additive_angular_margin(
    cosine: Any, margin: Any, *, threshold: bool = True, easy_margin: bool = False
) -> Any:
    """Returns cos(θ + m), the margin of ArcFace.

    cos(θ + m) = cos θ·cos m − sin θ·sin m falls with θ up to θ = π − m and rises beyond.
    Beyond, ArcFace's public code uses cos θ − m·sin m, which keeps falling.

    Args:
        cosine: cos θ in [−1, 1], float32, any shape.
        margin: m in radians, a number or a tensor that broadcasts.
        threshold: use cos θ − m·sin m where θ + m > π. With False, the bare formula pulls
            the target the wrong way there.
        easy_margin: use the margin only where θ < π/2, and cos θ elsewhere. `threshold` is
            ignored, since θ + m > π cannot happen for m ≤ π/2.

    Values and gradients are finite at θ = 0 and π too.
    """
    if isinstance(margin, float):
        cos_m, sin_m, edge = math.cos(margin), math.sin(margin), math.cos(math.pi - margin)
    else:
        cos_m, sin_m, edge = ops.cos(margin), ops.sin(margin), -ops.cos(margin)
    shifted = cosine * cos_m - sine(cosine) * sin_m
    if easy_margin:
        return ops.where(cosine > 0, shifted, cosine)
    if threshold:
        return ops.where(cosine > edge, shifted, cosine - margin * sin_m)
    return shifted


def falling_cosine(angle: Any) -> Any:
    """Returns ψ(α) = (−1)^k cos α − 2k with k = ⌊α/π⌋: cos α up to π, and falling beyond.

    `angle` is α ≥ 0 in radians, float32, any shape.
    """
    k = ops.floor(ops.stop_gradient(angle) / math.pi)
    sign = 1.0 - 2.0 * ops.mod(k, 2.0)
    return sign * ops.cos(angle) - 2.0 * k


def multiplicative_angular_margin(cosine: Any, margin: float) -> Any:
    """Returns ψ(m·θ) for cos θ in [−1, 1], SphereFace's margin (arXiv 1704.08063, equation 7)."""
    return falling_cosine(margin * arccos(cosine))


def combined_margin(cosine: Any, m1: float, m2: float, m3: float, *, threshold: bool = True) -> Any:
    """Returns cos(m1·θ + m2) − m3 (arXiv 1801.07698, equation 4), with all three margins.

    `threshold` makes the value fall where m1·θ + m2 > π, too. The paper does not define that
    range. For m1 = 1 it is ArcFace's cos θ − m2·sin m2 − m3, otherwise SphereFace's
    (−1)^k cos(m1·θ + m2) − 2k − m3.
    """
    if m1 == 1:
        angular = additive_angular_margin(cosine, m2, threshold=threshold)
    else:
        angle = m1 * arccos(cosine) + m2
        angular = falling_cosine(angle) if threshold else ops.cos(angle)
    return angular - m3


def target_of(logits: Any, labels: Any) -> Any:
    """Returns the logit of each row's label, (B, 1). A label outside [0, N) is clipped."""
    return ops.take_along_axis(logits, _columns(logits, labels), axis=1)


def replace_target(logits: Any, labels: Any, function: Callable[[Any], Any]) -> Any:
    """Returns the logits with each label's logit replaced by `function` of it.

    Automatic differentiation of a gather and a scatter would fill and add (B, N) arrays. With
    many identities that costs as much as the softmax. Here the gradient of one entry per row is
    overwritten instead.

    Args:
        logits: (B, N) float32.
        labels: (B,) int. A row whose label is outside [0, N) does not change.
        function: maps (B, 1) to (B, 1). It can use other tensors, and gradients reach them.
    """
    columns = _columns(logits, labels)
    is_class = ops.expand_dims(in_classes(labels, ops.cast(logits.shape[1], labels.dtype)), -1)
    rows = ops.arange(ops.shape(logits)[0], dtype=columns.dtype)
    places = ops.stack([rows, columns[:, 0]], axis=1)

    # The two gradients are correct only together. `put` passes on the upstream gradient of the
    # label's entry, which is wrong by itself, and `take` overwrites it with the gradient that
    # came back through `function`.

    @ops.custom_gradient
    def take(logits: Any) -> Any:
        def gradient(*upstream: Any) -> Any:
            whole, target = upstream if len(upstream) == 2 else upstream[0]
            return ops.scatter_update(whole, places, target[:, 0])

        return (logits, ops.take_along_axis(logits, columns, axis=1)), gradient

    @ops.custom_gradient
    def put(logits: Any, target: Any) -> Any:
        return ops.scatter_update(logits, places, target[:, 0]), lambda upstream: (
            upstream,
            ops.take_along_axis(upstream, columns, axis=1),
        )

    logits, target = take(logits)
    return put(logits, ops.where(is_class, function(target), target))


def _columns(logits: Any, labels: Any) -> Any:
    return ops.expand_dims(ops.clip(ops.cast(labels, "int32"), 0, logits.shape[1] - 1), -1)
