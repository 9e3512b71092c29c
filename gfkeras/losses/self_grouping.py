"""The self-grouping loss of GroupFace."""

import math
from typing import Any, ClassVar

import keras
from keras import ops

from gfkeras.errors import in_range, one_of
from gfkeras.layers.checks import Shape, check_two_axes
from gfkeras.layers.replica import global_mean, share_of_mean
from gfkeras.losses.embedding_loss import softmax_cross_entropy
from gfkeras.saving import Configured


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
    check_two_axes("probabilities", probabilities.shape, "groups")
    if expectation is None:
        expectation = ops.mean(probabilities, axis=0)
    advantage = ops.stop_gradient(probabilities - expectation)
    return ops.cast(ops.argmax(advantage, axis=-1), "int32")


def naive_labels(probabilities: Any) -> Any:
    """argmax p of (B, K), the paper's ablation: (B,) int32 that tend to collapse on few groups."""
    probabilities = ops.convert_to_tensor(probabilities)
    return ops.cast(ops.argmax(ops.stop_gradient(probabilities), axis=-1), "int32")


LABELINGS = ("self-distributed", "naive")
EXPECTATIONS = ("batch", "ema")


@keras.saving.register_keras_serializable("gfkeras")
class SelfGroupingLoss(Configured, keras.layers.Layer):
    """weight · CE(softmax(f(x)), G*), which trains the group decision network.

    L2 of arXiv 2005.10497, equation 9, with the paper's λ = 0.1 as weight. G* is
    the self-distributed label, whose expectation E[p] the paper takes "over the
    data" without saying how. Here it is the mean over the global batch, that of
    all replicas, or a moving average of it, which steadies small batches.

    A layer rather than a `keras.losses.Loss` since the moving average is state.

    Args:
        weight: λ.
        labeling: "self-distributed", or "naive" for argmax p.
        expectation: "batch" or "ema".
        momentum: of the moving average: E ← momentum·E + (1 − momentum)·batch mean.

    Call arguments:
        group_logits: (B, K) float.
        training: whether the moving average takes the batch in.

    Returns:
        Scalar float32, the mean over the batch. Of several replicas each gives its part: the
        mean of the parts is that over the global batch.

    Example:
        >>> import gfkeras, numpy as np
        >>> loss = gfkeras.losses.SelfGroupingLoss(weight=0.1)
        >>> round(float(loss(np.zeros((8, 4), "float32"))), 4)  # 0.1 · log 4
        0.1386
    """

    inputs: ClassVar[tuple[str, ...]] = ("group_logits",)

    def __init__(
        self,
        weight: float = 0.1,
        labeling: str = "self-distributed",
        expectation: str = "batch",
        momentum: float = 0.9,
        **kwargs: Any,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.weight = in_range("weight", weight, 0, math.inf)
        self.labeling = one_of("labeling", labeling, LABELINGS)
        self.expectation = one_of("expectation", expectation, EXPECTATIONS)
        self.momentum = in_range("momentum", momentum, 0, 1)

    def build(self, group_logits_shape: Shape) -> None:
        groups = check_two_axes("group_logits", group_logits_shape, "groups", known=True)
        self.moving_expectation = None
        if self.labeling == "self-distributed" and self.expectation == "ema":
            self.moving_expectation = self.add_weight(
                name="moving_expectation",
                shape=(groups,),
                initializer=keras.initializers.Constant(1 / groups),
                trainable=False,
                # Each replica computes the same value from the global mean.
                aggregation="only_first_replica",
            )

    def call(self, group_logits: Any, training: bool | None = None) -> Any:
        group_logits = ops.cast(group_logits, "float32")
        probabilities = ops.stop_gradient(ops.softmax(group_logits, axis=-1))
        if self.labeling == "naive":
            labels = naive_labels(probabilities)
        else:
            expectation = self._expectation_of(probabilities, training)
            labels = self_distributed_labels(probabilities, expectation)
        return self.weight * share_of_mean(softmax_cross_entropy(group_logits, labels))

    def _expectation_of(self, probabilities: Any, training: bool | None) -> Any:
        if self.moving_expectation is None:
            return global_mean(probabilities, axis=0)
        if not training:
            return ops.convert_to_tensor(self.moving_expectation)
        batch = global_mean(probabilities, axis=0)
        moved = self.momentum * self.moving_expectation + (1 - self.momentum) * batch
        self.moving_expectation.assign(moved)
        return moved

    def compute_output_spec(
        self, group_logits: Any, training: bool | None = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor((), dtype="float32")
