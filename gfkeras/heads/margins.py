"""Margins as pure functions, and their place among the logits."""

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from gfkeras.layers.angular import arccos, sine
from gfkeras.layers.checks import in_classes


def additive_angular_margin(
    cosine: Any, margin: Any, *, threshold: bool = True, easy_margin: bool = False
) -> Any:
    """cos(θ + m), the margin of ArcFace.

    cos(θ + m) = cos θ·cos m − sin θ·sin m falls with θ up to θ = π − m and rises
    beyond. There ArcFace's public code goes on with cos θ − m·sin m.

    Args:
        cosine: cos θ in [−1, 1], float32, any shape.
        margin: m in radians, a number or a tensor that broadcasts.
        threshold: whether to go on with cos θ − m·sin m where θ + m > π, or else with
            the bare formula, which pulls the target the wrong way there.
        easy_margin: take the margin only where θ < π/2, and cos θ elsewhere; θ + m > π
            then cannot be for m ≤ π/2, and `threshold` is ignored.

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
    """ψ = (−1)^k cos α − 2k with k = ⌊α/π⌋: cos α up to π, falling on beyond.

    α ≥ 0 in radians, float32, any shape.
    """
    k = ops.floor(ops.stop_gradient(angle) / math.pi)
    sign = 1.0 - 2.0 * ops.mod(k, 2.0)
    return sign * ops.cos(angle) - 2.0 * k


def multiplicative_angular_margin(cosine: Any, margin: float) -> Any:
    """ψ(m·θ) of cos θ in [−1, 1], the margin of SphereFace (arXiv 1704.08063, equation 7)."""
    return falling_cosine(margin * arccos(cosine))


def combined_margin(cosine: Any, m1: float, m2: float, m3: float, *, threshold: bool = True) -> Any:
    """cos(m1·θ + m2) − m3 (arXiv 1801.07698, equation 4), with no m ignored.

    `threshold` makes it fall on where m1·θ + m2 > π, of which the paper says nothing: as
    ArcFace, cos θ − m2·sin m2 − m3, where m1 = 1, and as SphereFace,
    (−1)^k cos(m1·θ + m2) − 2k − m3, elsewhere.
    """
    if m1 == 1:
        angular = additive_angular_margin(cosine, m2, threshold=threshold)
    else:
        angle = m1 * arccos(cosine) + m2
        angular = falling_cosine(angle) if threshold else ops.cos(angle)
    return angular - m3


def target_of(logits: Any, labels: Any) -> Any:
    """The logit of each row's label, (B, 1); labels outside [0, N) count as the nearest class."""
    return ops.take_along_axis(logits, _columns(logits, labels), axis=1)


def replace_target(logits: Any, labels: Any, function: Callable[[Any], Any]) -> Any:
    """The logits with `function` of the label's logit in its place.

    Automatic differentiation of a gather and a scatter would fill and add (B, N)
    arrays; with many identities that costs as much as the softmax. Here one entry a
    row of the gradient is overwritten.

    Args:
        logits: (B, N) float32.
        labels: (B,) int. A row whose label is no class stays as it is.
        function: from (B, 1) to (B, 1); may use other tensors, gradients reach them.
    """
    columns = _columns(logits, labels)
    is_class = ops.expand_dims(in_classes(labels, ops.cast(logits.shape[1], labels.dtype)), -1)
    rows = ops.arange(ops.shape(logits)[0], dtype=columns.dtype)
    places = ops.stack([rows, columns[:, 0]], axis=1)

    # The two gradients are right only together: `put` lets the label's entry pass, which
    # is not its gradient, and `take` overwrites it with what came back through `function`.

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
