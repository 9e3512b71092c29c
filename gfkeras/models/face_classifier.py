"""The model that trains: a face model, a margin head, and the losses between them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.heads.margin_head import check_labels
from gfkeras.layers import num_replicas
from gfkeras.losses.softmax import softmax_cross_entropy
from gfkeras.models.outputs import as_outputs


@keras.saving.register_keras_serializable("gfkeras")
class FaceClassifier(keras.Model):
    """Trains a face model to tell identities apart, with plain `model.fit`.

    L = L1 + L2: L1 is the softmax cross-entropy of the margin head's logits on the
    final embedding, L2 the self-grouping loss on the group logits (arXiv
    2005.10497, equation 10; the weight λ is `SelfGroupingLoss.weight`).

    The losses are taken in `compute_loss`, so `fit`, `evaluate`, callbacks,
    distribution and mixed precision are Keras' own, on TensorFlow and JAX alike.
    Logs: loss, identity_loss (L1), grouping_loss (L2), accuracy (of the cosines
    without a margin).

    Args:
        model: a `GroupFace`, or any model from images to an embedding.
        head: a `gfkeras.heads.MarginHead`.
        self_grouping: a `SelfGroupingLoss`, or None to train without groups.

    Call arguments:
        images: (B, H, W, 3), uint8 or float32, 0…255. `fit` takes them with labels
            (B,), int in [0, head.num_classes), and optional sample weights (B,).

    Raises:
        ValueError: if a self-grouping loss is given for a model without groups; by
            `fit` and `evaluate`, for label arrays that are not class indices.
            Labels that only a running step sees give a NaN loss.

    Example:
        >>> training = FaceClassifier(model, ArcFace(num_classes=100), SelfGroupingLoss())
        >>> training.compile(keras.optimizers.SGD(0.005, momentum=0.9))
        >>> training.fit(images, labels, batch_size=128)
        >>> training.model.save_to("runs/first")
    """

    def __init__(
        self,
        model: keras.Model,
        head: keras.layers.Layer,
        self_grouping: keras.layers.Layer | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        outputs = as_outputs(model.output)
        if self_grouping is not None and "group_logits" not in outputs:
            raise ValueError(
                "`self_grouping` needs a model with 'group_logits' among its outputs, such as "
                f"GroupFace. Received: a model with {sorted(outputs)}"
            )
        self.model = model
        self.head = head
        self.self_grouping = self_grouping
        self._identity_loss = keras.metrics.Mean(name="identity_loss")
        self._grouping_loss = (
            None if self_grouping is None else keras.metrics.Mean(name="grouping_loss")
        )
        self._accuracy = keras.metrics.Mean(name="accuracy")
        self._compiled_mode: str | None = None
        if not head.built:
            head.build(outputs["embedding"].shape)
        if self_grouping is not None and not self_grouping.built:
            self_grouping.build(outputs["group_logits"].shape)
        self.built = True

    @property
    def mode(self) -> str | None:
        """The mode of the GroupFace inside; None where there are no groups."""
        return getattr(self.model, "mode", None)

    @mode.setter
    def mode(self, mode: str) -> None:
        if self.mode is None:
            raise ValueError(f"`mode` needs a GroupFace inside. Received: mode={mode!r}")
        self.model.mode = mode

    def call(self, images: Any, training: bool | None = None) -> dict[str, Any]:
        return as_outputs(self.model(images, training=training))

    def compile(self, optimizer: Any = "sgd", **kwargs: Any) -> None:
        """As `keras.Model.compile`, without a loss: head and losses are arguments."""
        if kwargs.get("loss") is not None:
            raise ValueError(
                "`loss` is set by the head and self_grouping of FaceClassifier. "
                f"Received: loss={kwargs['loss']!r}"
            )
        kwargs["loss"] = None
        super().compile(optimizer=optimizer, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        # Keras leaves this out where `compile` is overridden.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        cosine = self.head.cosine(y_pred["embedding"])
        losses = softmax_cross_entropy(self.head.with_margin(cosine, y), y)
        hits = ops.cast(
            ops.equal(ops.cast(ops.argmax(cosine, axis=-1), "int32"), ops.cast(y, "int32")),
            "float32",
        )
        if sample_weight is not None:
            losses = losses * ops.cast(sample_weight, "float32")
        loss = ops.mean(losses)
        self._identity_loss.update_state(loss)
        self._accuracy.update_state(hits, sample_weight)
        if self.self_grouping is not None and self._grouping_loss is not None:
            grouping = self.self_grouping(y_pred["group_logits"], training=training)
            self._grouping_loss.update_state(grouping)
            loss = loss + grouping
        # Layers' own, such as kernel regularisers: the same on every replica.
        for extra in self.losses:
            loss = loss + ops.sum(ops.cast(extra, "float32"))
        # tf.distribute sums the replicas' gradients.
        return loss / num_replicas()

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        self._check_labels(y)
        return super().fit(x, y, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        self._check_labels(y)
        return super().evaluate(x, y, **kwargs)

    def _check_labels(self, y: Any) -> None:
        if isinstance(y, (list, tuple, np.ndarray)):
            check_labels(np.asarray(y), self.head.num_classes)

    # A changed mode must not meet a step that was traced in the other one.

    def make_train_function(self, force: bool = False) -> Any:
        return super().make_train_function(force=self._mode_changed() or force)

    def make_test_function(self, force: bool = False) -> Any:
        return super().make_test_function(force=self._mode_changed() or force)

    def make_predict_function(self, force: bool = False) -> Any:
        return super().make_predict_function(force=self._mode_changed() or force)

    def _mode_changed(self) -> bool:
        if self.mode == self._compiled_mode:
            return False
        self.train_function = self.test_function = self.predict_function = None
        self._compiled_mode = self.mode
        return True

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "model": serialize(self.model),
            "head": serialize(self.head),
            "self_grouping": None if self.self_grouping is None else serialize(self.self_grouping),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> FaceClassifier:
        config = dict(config)
        for key in ("model", "head", "self_grouping"):
            config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects)
        return cls(**config)
