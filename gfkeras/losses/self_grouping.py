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
    """Returns self-distributed group labels (arXiv 2005.10497, equations 6 to 8).

    p̃ = (p − E[p]) / K + 1/K and G* = argmax p̃, which equals argmax (p − E[p]). A face gets
    the group that is most likely for it in comparison with the average face. This keeps one
    group from collecting all faces.

    Args:
        probabilities: p(G_k | x), (B, K) float.
        expectation: E[p], (K,), or None for the mean over this batch.

    Returns:
        G*, (B,) int32, without a gradient.

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
    """Returns argmax p for probabilities (B, K), (B,) int32.

    These labels are the paper's ablation. They tend to collapse to a few groups.
    """
    probabilities = ops.convert_to_tensor(probabilities)
    return ops.cast(ops.argmax(ops.stop_gradient(probabilities), axis=-1), "int32")


def log_prior_labels(probabilities: Any, expectation: Any = None) -> Any:
    """Returns G* = argmax (log p − log E[p]), (B,) int32, without a gradient.

    A face gets the group whose probability grew by the largest factor over the average face's.
    The difference p − E[p] of `self_distributed_labels` hardly moves for a group with a small
    E[p], so such a group rarely gets a face. By the ratio it does, and more groups stay in use.

    Args:
        probabilities: p(G_k | x), (B, K) float.
        expectation: E[p], (K,), or None for the mean over this batch.

    Raises:
        ValueError: if `probabilities` is not (B, K).

    Example:
        >>> import gfkeras, numpy as np
        >>> p = np.array([[0.90, 0.09, 0.01], [0.80, 0.16, 0.04]])
        >>> [int(label) for label in gfkeras.losses.log_prior_labels(p)]
        [0, 2]
    """
    probabilities = ops.convert_to_tensor(probabilities)
    check_two_axes("probabilities", probabilities.shape, "groups")
    if expectation is None:
        expectation = ops.mean(probabilities, axis=0)
    # A probability can underflow to 0, and 0 / 0 must not win.
    ratio = (probabilities + 1e-30) / (ops.cast(expectation, probabilities.dtype) + 1e-30)
    return ops.cast(ops.argmax(ops.stop_gradient(ratio), axis=-1), "int32")


LABELINGS = ("self-distributed", "log-prior", "naive")
EXPECTATIONS = ("batch", "ema")


@keras.saving.register_keras_serializable("gfkeras")
class SelfGroupingLoss(Configured, keras.layers.Layer):
    """weight · CE(softmax(f(x)), G*), which trains the group decision network.

    L2 of arXiv 2005.10497, equation 9. G* is the self-distributed label. The paper takes its
    expectation E[p] "over the data" and does not say how. Here it is the mean over the global
    batch of all replicas, or a moving average of that mean, which is steadier for small
    batches.

    The loss is a layer and not a `keras.losses.Loss`, because the moving average is state.

    Args:
        weight: λ, which multiplies the loss. The paper uses 0.1.
        labeling: "self-distributed" (the paper's), "log-prior" for argmax (log p − log E[p]), which
            keeps more groups in use, or "naive" for argmax p.
        expectation: "batch" for the mean, or "ema" for the moving average.
        momentum: momentum of the moving average, E ← momentum·E + (1 − momentum)·batch mean.

    Call arguments:
        group_logits: (B, K) float.
        training: whether the moving average includes this batch.

    Returns:
        Scalar float32, the mean over the batch. With several replicas, each returns its part.
        The mean of the parts is the mean over the global batch.

    Raises:
        ValueError: for arguments out of range, and for group logits that are not (B, K).

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
        if self.labeling != "naive" and self.expectation == "ema":
            self.moving_expectation = self.add_weight(
                name="moving_expectation",
                shape=(groups,),
                # A uniform expectation. The first labels are then close to the naive ones.
                initializer=keras.initializers.Constant(1 / groups),
                trainable=False,
                # Every replica computes the same value from the global mean.
                aggregation="only_first_replica",
            )

    def call(self, group_logits: Any, training: bool | None = None) -> Any:
        group_logits = ops.cast(group_logits, "float32")
        probabilities = ops.stop_gradient(ops.softmax(group_logits, axis=-1))
        if self.labeling == "naive":
            labels = naive_labels(probabilities)
        else:
            log_prior = self.labeling == "log-prior"
            chosen_labels = log_prior_labels if log_prior else self_distributed_labels
            labels = chosen_labels(probabilities, self._expectation_of(probabilities, training))
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
