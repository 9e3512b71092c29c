"""Base class of the losses on embeddings, and the softmax cross-entropy."""

import inspect
import math
from typing import Any, ClassVar

import keras
from keras import ops

from gfkeras.errors import in_range
from gfkeras.layers import num_replicas
from gfkeras.layers.checks import in_classes
from gfkeras.saving import init_arguments


class EmbeddingLoss(keras.losses.Loss):
    """Base of the losses on a batch of embeddings: one scalar for the whole batch.

    A subclass computes the unweighted loss in `batch_loss` and lists the names of its
    arguments in `inputs`. `gfkeras.models.FaceClassifier` knows the names "labels",
    "embedding", "centers" (of the head), "teacher_embedding", and every output of the model.

    If `inputs` are a target and the model's embedding, you can also give the loss to
    `model.compile(loss=...)`. Labels stay integers here, while Keras' own losses turn them
    into floats. All arithmetic is float32 under any dtype policy.

    Args:
        weight: a factor that multiplies the loss.
        name: name of the `keras.losses.Loss`.

    Raises:
        ValueError: for a negative weight, for embeddings or centers that are not 2-D floats,
            and for labels that are not one integer per embedding. Eagerly also for labels
            outside the classes and for embeddings or centers that are not finite. In a
            compiled step, these make the loss NaN or infinite.
    """

    inputs: ClassVar[tuple[str, ...]] = ("labels", "embedding")
    # Whether the loss compares embeddings with the teacher's. They must then have equal widths.
    in_teacher_space: ClassVar[bool] = False

    def __init__(self, weight: float = 1.0, name: str | None = None):
        super().__init__(name=name, reduction=None, dtype="float32")
        self.weight = in_range("weight", weight, 0, math.inf)

    def batch_loss(self, *inputs: Any) -> Any:
        """Returns the loss before it is multiplied by `weight`, a scalar float32."""
        raise NotImplementedError

    def call(self, *inputs: Any) -> Any:
        return self.weight * self.batch_loss(*inputs)

    def __call__(self, *inputs: Any, sample_weight: Any = None) -> Any:
        # `model.fit` passes `sample_weight` by position, after the target and the prediction.
        if len(inputs) > len(inspect.signature(self.batch_loss).parameters):
            *inputs, sample_weight = inputs  # type: ignore[assignment]
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} is a loss of the whole batch. Received: a `sample_weight`"
            )
        # Keras sums the losses of the replicas, so each replica must return its share of the sum.
        return self.call(*inputs) / num_replicas()

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "weight": self.weight, **init_arguments(self)}


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """Returns −log softmax(logits)[label] of each row of (B, N), (B,) float32.

    A label outside [0, N) gives NaN on every backend and device, also in a compiled step.
    Otherwise, a model could train on wrong labels unnoticed.
    """
    logits = ops.cast(logits, "float32")
    labels = ops.cast(labels, "int32")
    classes = logits.shape[-1]
    # Keras' function uses a fused kernel if the backend has one. Its result for a wrong label
    # differs between backends, so wrong labels are clipped first and become NaN afterwards.
    nearest = ops.clip(labels, 0, classes - 1)
    loss = ops.sparse_categorical_crossentropy(nearest, logits, from_logits=True)
    return ops.where(in_classes(labels, classes), loss, float("nan"))
