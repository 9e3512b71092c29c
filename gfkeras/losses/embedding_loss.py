"""Shared parts of the losses."""

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

    A subclass computes the unweighted loss in `batch_loss` and names in `inputs` what that is
    called with, in the words of `gfkeras.models.FaceClassifier`: "labels", "embedding",
    "centers" of the head, "teacher_embedding", or any output of the model.

    As a `keras.losses.Loss` it can be given to `model.compile(loss=...)` where `inputs`
    are a target and the model's embedding. Labels stay integers, which Keras' own
    losses turn into floats, and all arithmetic is float32 under any dtype policy.

    Args:
        weight: what the loss is multiplied by.
        name: as of `keras.losses.Loss`.

    Raises:
        ValueError: for a negative weight, embeddings or centers that are not 2-D floats, labels
            that are not integers, one per embedding, and, where values are known (eagerly),
            labels that are no class and embeddings or centers that are not finite. In a
            compiled step these make the loss NaN or infinite.
    """

    inputs: ClassVar[tuple[str, ...]] = ("labels", "embedding")
    # Whether embeddings are compared with the teacher's, and must be as long as they.
    in_teacher_space: ClassVar[bool] = False

    def __init__(self, weight: float = 1.0, name: str | None = None):
        super().__init__(name=name, reduction=None, dtype="float32")
        self.weight = in_range("weight", weight, 0, math.inf)

    def batch_loss(self, *inputs: Any) -> Any:
        """The loss before its weight, a scalar float32."""
        raise NotImplementedError

    def call(self, *inputs: Any) -> Any:
        return self.weight * self.batch_loss(*inputs)

    def __call__(self, *inputs: Any, sample_weight: Any = None) -> Any:
        # `model.fit` passes it by position, after target and prediction.
        if len(inputs) > len(inspect.signature(self.batch_loss).parameters):
            *inputs, sample_weight = inputs  # type: ignore[assignment]
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} is a loss of the whole batch. Received: a `sample_weight`"
            )
        # Keras expects of a loss its share of the sum over the replicas.
        return self.call(*inputs) / num_replicas()

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "weight": self.weight, **init_arguments(self)}


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """−log softmax(logits)[label] of each row of (B, N), as (B,) float32.

    A label outside [0, N) gives NaN on every backend and device, in compiled steps too: a wrong
    label must not train silently.
    """
    logits = ops.cast(logits, "float32")
    labels = ops.cast(labels, "int32")
    classes = logits.shape[-1]
    # Keras' own is one fused kernel where the backend has one, but takes a wrong label as it likes.
    nearest = ops.clip(labels, 0, classes - 1)
    loss = ops.sparse_categorical_crossentropy(nearest, logits, from_logits=True)
    return ops.where(in_classes(labels, classes), loss, float("nan"))
