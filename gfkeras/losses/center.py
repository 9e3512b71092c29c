"""The center loss."""

import math
from typing import Any

import keras
from keras import ops

from gfkeras.errors import in_range, positive_int
from gfkeras.layers.checks import (
    Shape,
    check_embeddings,
    check_labels,
    check_two_axes,
    in_classes,
    rows_of,
)
from gfkeras.layers.replica import global_batch, share_of_mean
from gfkeras.saving import Configured


def moved_centers(centers: Any, labels: Any, embedding: Any, alpha: float) -> Any:
    """Returns the center of each row's class after one step, (B, D).

    The step is c_j − α·Σ_{i: y_i = j}(c_j − x_i) / (1 + n_j), where class j has n_j images in
    the batch. `centers` (B, D) are the centers of the rows' classes before the step.
    """
    same = ops.cast(labels[:, None] == labels[None], "float32")
    count = ops.sum(same, axis=1, keepdims=True)
    delta = ops.matmul(same, centers - embedding) / (1.0 + count)
    # Rows of one class are written to the same place, in an unknown order. With the bits of the
    # class's first row in all of them, every order gives the same result.
    first = ops.argmax(same, axis=1)
    return ops.take(centers - alpha * delta, first, axis=0)


@keras.saving.register_keras_serializable("gfkeras")
class CenterLoss(Configured, keras.layers.Layer):
    """weight · ½ mean_i ‖x_i − c_{y_i}‖², which pulls embeddings towards their class's center.

    Equation 2 of Wen et al., "A Discriminative Feature Learning Approach for Deep Face
    Recognition", ECCV 2016. The paper sums over the batch. The mean used here makes the
    weight independent of the batch size. Embeddings are not normalised, and only they get a
    gradient. In training, each step then moves the centers by equation 4,

        c_j ← c_j − α · Σ_{i: y_i = j}(c_j − x_i) / (1 + n_j),

    over the global batch of all replicas. The centers belong to this layer, not to a head,
    and no optimizer changes them.

    Args:
        num_classes: N, the number of identities.
        alpha: α in [0, 1], how far the centers move. The paper's experiments use 0.5.
        weight: λ, which multiplies the loss. The paper uses 0.003.
        center_initializer: initializer of the centers (N, D).

    Call arguments:
        labels: (B,) int in [0, N).
        embedding: (B, D) float.
        training: whether the centers move after the loss is computed.

    Returns:
        Scalar float32, the mean over the batch. With several replicas, each returns its part.
        The mean of the parts is the mean over the global batch.

    Raises:
        ValueError: for embeddings that are not 2-D floats, for float labels, and for labels
            of another length. Eagerly also for labels outside [0, N) and for embeddings that
            are not finite. In a compiled step, these make the loss NaN or infinite, and no
            center moves, since one bad batch would spoil the centers permanently.

    Example:
        >>> import gfkeras, numpy as np
        >>> loss = gfkeras.losses.get("CenterLoss", num_classes=3, alpha=0.5, weight=1.0)
        >>> embedding = np.array([[3.0, 0.0], [0.0, 1.0]], "float32")
        >>> float(loss(np.array([0, 2]), embedding, training=True))
        2.5
        >>> loss.centers.numpy().tolist()
        [[0.75, 0.0], [0.0, 0.0], [0.0, 0.25]]
    """

    inputs = ("labels", "embedding")

    def __init__(
        self,
        num_classes: int,
        alpha: float = 0.5,
        weight: float = 0.003,
        center_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        # In half precision, the small steps of the centers would be lost to rounding.
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        if not 0 <= alpha <= 1:
            raise ValueError(f"`alpha` must be in [0, 1]. Received: alpha={alpha!r}")
        self.num_classes = positive_int("num_classes", num_classes)
        self.alpha = float(alpha)
        self.weight = in_range("weight", weight, 0, math.inf)
        self.center_initializer = keras.initializers.get(center_initializer)

    def build(self, labels_shape: Shape, embedding_shape: Shape) -> None:
        dimensions = check_two_axes("embedding", embedding_shape, known=True)
        self.centers = self.add_weight(
            name="centers",
            shape=(self.num_classes, dimensions),
            initializer=self.center_initializer,
            dtype="float32",
            trainable=False,
            # Every replica computes the same value from the global batch.
            aggregation="only_first_replica",
        )

    def call(self, labels: Any, embedding: Any, training: bool | None = None) -> Any:
        embedding = check_embeddings(embedding)
        labels = ops.cast(check_labels(labels, self.num_classes, embedding), "int32")
        loss = share_of_mean(self._half_squared_distances(labels, embedding))
        if training:
            self._move(global_batch(labels), global_batch(ops.stop_gradient(embedding)))
        return self.weight * loss

    def _half_squared_distances(self, labels: Any, embedding: Any) -> Any:
        """Returns ½‖x − c_y‖² of each row, NaN for a label outside [0, N)."""
        difference = embedding - ops.stop_gradient(rows_of(labels, self.centers))
        half = 0.5 * ops.sum(ops.square(difference), axis=-1)
        return ops.where(in_classes(labels, self.num_classes), half, float("nan"))

    def _move(self, labels: Any, embedding: Any) -> None:
        sound = ops.all(ops.isfinite(self._half_squared_distances(labels, embedding)))
        before = rows_of(labels, self.centers)
        after = ops.where(sound, moved_centers(before, labels, embedding, self.alpha), before)
        # A label outside [0, N) is clipped to a valid row. Its batch is not sound, so the row
        # keeps its value.
        index = ops.expand_dims(ops.clip(labels, 0, self.num_classes - 1), -1)
        self.centers.assign(ops.scatter_update(self.centers, index, after))

    def compute_output_spec(
        self, labels: Any, embedding: Any, training: bool | None = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor((), dtype="float32")
