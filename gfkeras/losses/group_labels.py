"""Labels for groups that nobody has labelled."""

from __future__ import annotations

from typing import Any

from keras import ops


def self_distributed_labels(probabilities: Any, expectation: Any = None) -> Any:
    """Self-distributed group labels (arXiv 2005.10497, equations 6 to 8).

    p̃ = (p − E[p]) / K + 1/K and G* = argmax p̃, which is argmax (p − E[p]): a
    group is chosen by how much more likely it is for this face than for faces at
    large, so that no group collects them all.

    Args:
        probabilities: p(G_k | x), (B, K) float.
        expectation: E[p], (K,); None takes the mean over this batch.

    Returns:
        G*, (B,) int32. No gradient passes through.

    Raises:
        ValueError: if `probabilities` is not (B, K).

    Example:
        >>> import gfkeras, numpy as np
        >>> labels = gfkeras.self_distributed_labels(np.array([[0.6, 0.4], [0.9, 0.1]]))
        >>> [int(label) for label in labels]
        [1, 0]
    """
    probabilities = ops.convert_to_tensor(probabilities)
    if len(probabilities.shape) != 2:
        raise ValueError(
            "`probabilities` must have the shape (batch, groups). "
            f"Received: a shape of {tuple(probabilities.shape)}"
        )
    if expectation is None:
        expectation = ops.mean(probabilities, axis=0)
    advantage = ops.stop_gradient(probabilities - expectation)
    return ops.cast(ops.argmax(advantage, axis=-1), "int32")


def naive_labels(probabilities: Any) -> Any:
    """argmax p, the paper's ablation: labels that tend to collapse on few groups.

    Args:
        probabilities: (B, K) float.

    Returns:
        (B,) int32.
    """
    probabilities = ops.convert_to_tensor(probabilities)
    return ops.cast(ops.argmax(ops.stop_gradient(probabilities), axis=-1), "int32")
