"""Changing one logit a row, without a second array of the logits' size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops


def target_of(logits: Any, labels: Any) -> Any:
    """The logit of each row's label.

    Args:
        logits: (B, N) float.
        labels: (B,) int; those outside [0, N) are taken as the nearest class.

    Returns:
        (B, 1).
    """
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

    Returns:
        (B, N) float32.
    """
    columns = _columns(logits, labels)
    classes = ops.cast(logits.shape[1], labels.dtype)
    is_class = ops.expand_dims(ops.logical_and(labels >= 0, labels < classes), -1)
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
        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            upstream = arguments[0] if upstream is None else upstream
            return upstream, ops.take_along_axis(upstream, columns, axis=1)

        return ops.scatter_update(logits, places, target[:, 0]), gradient

    logits, target = take(logits)
    return put(logits, ops.where(is_class, function(target), target))


def _columns(logits: Any, labels: Any) -> Any:
    return ops.expand_dims(ops.clip(ops.cast(labels, "int32"), 0, logits.shape[1] - 1), -1)
