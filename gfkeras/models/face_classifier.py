"""The classifier that trains a face model with a margin head and further losses."""

from typing import Any, Self

import keras
from keras import ops

from gfkeras.layers import beside_centers, num_replicas
from gfkeras.layers.replica import on_all_replicas, share_of_mean
from gfkeras.losses.embedding_loss import softmax_cross_entropy
from gfkeras.models import replicas
from gfkeras.models.checked_data import (
    NO_LABELS,
    check_in_step,
    checked_data,
    is_distributed,
    label_errors,
)
from gfkeras.models.classifier_parts import (
    build_parts,
    count_classes,
    log_names,
    samples_classes,
    set_directions,
    warn_of_bounds,
)
from gfkeras.models.group_usage import GroupUsage
from gfkeras.models.properties import as_outputs, symbolic_outputs
from gfkeras.models.replicas import NEVER, LossScaling, ReplicaMean


@keras.saving.register_keras_serializable("gfkeras")
class FaceClassifier(keras.Model):
    """Trains a face model to distinguish identities, with plain `model.fit`.

    The loss is L = L1 + Σ L2. L1 is the softmax cross-entropy of the margin head's logits for
    the embedding. Each L2 is a further loss times its own `weight`, for example the
    self-grouping loss on the group logits (arXiv 2005.10497, equation 10). You can leave out
    either part. Without a head, a triplet loss trains alone, as in FaceNet.

    A loss lists its arguments in `inputs`: "labels", "embedding", "centers" (of the head),
    "teacher_embedding", or any other output of the model. A `keras.losses.Loss` without
    `inputs` gets labels and embedding.

    The losses are computed in `compute_loss`. So `fit`, `evaluate`, callbacks, distribution
    and mixed precision are those of Keras, both on TensorFlow and on JAX. Create the
    classifier in the scope of a `tf.distribute` strategy to train on all its replicas, also
    on several workers. Losses and logs are then those of the global batch.

    The logs contain loss, identity_loss (L1), accuracy (from the cosines without a margin),
    and each further loss under the name of its class: self_grouping_loss, triplet_loss, ….
    For a model with groups they also contain effective_groups and effective_groups_soft (see
    `GroupUsage`). With `PartialFC`, loss and accuracy are over the drawn identities in `fit`
    and over all identities in `evaluate`.

    Args:
        model: a `GroupFace`, or any model from images to an embedding.
        head: a `gfkeras.heads.MarginHead`, or None.
        extra_losses: one or several losses of `gfkeras.losses`.
        teacher: a trained model from the same images to an embedding, for distillation and
            for `HarmonicTripletLoss`. Training does not change it.

    Call arguments:
        images: (B, H, W, 3), uint8 or float32, 0…255. `fit` takes them with labels (B,), int
            in [0, head.num_classes), and optional sample weights (B,) for L1.

    Raises:
        ValueError: if there is neither a head nor a loss, or if a loss needs something that
            is missing, such as groups, centers or a teacher. `compile` raises it for an
            optimizer that cannot train a `PartialFC` head. `fit` and `evaluate` raise it for
            labels that are not class indices, with a data set at the first such batch. Wrong
            labels that are only known inside a step compiled by XLA give a NaN loss.

    Example:
        import gfkeras, keras
        images, labels = gfkeras.data.synthetic.synthetic_faces(20, 8)
        model = gfkeras.GroupFace(gfkeras.backbones.MobileFaceNet(width=0.25), shared_dim=None)
        training = gfkeras.FaceClassifier(
            model, gfkeras.heads.ArcFace(num_classes=20), gfkeras.losses.SelfGroupingLoss()
        )
        training.compile(keras.optimizers.SGD(0.005, momentum=0.9))
        training.fit(images, labels, batch_size=32)
        training.model.save_to("runs/first")
    """

    def __init__(
        self,
        model: keras.Model,
        head: keras.layers.Layer | None = None,
        extra_losses: Any = (),
        teacher: keras.Model | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if not isinstance(extra_losses, (list, tuple)):
            extra_losses = [] if extra_losses is None else [extra_losses]
        if head is None and not extra_losses:
            raise ValueError("`head` or `extra_losses` must be given. Received: neither")
        outputs = symbolic_outputs("model", model)
        self.model = model
        self.head: Any = head
        self.extra_losses = list(extra_losses)
        self.teacher = teacher
        if teacher is not None:
            # Otherwise `fit` would also update the teacher, which is part of this model.
            teacher.trainable = False
        self.loss_inputs = [
            tuple(getattr(loss, "inputs", ("labels", "embedding"))) for loss in self.extra_losses
        ]
        build_parts(self, outputs)
        if head is not None:
            self._identity_loss = keras.metrics.Mean(name="identity_loss")
            self._accuracy = keras.metrics.Mean(name="accuracy")
        self._extra_means = [ReplicaMean(name=name) for name in log_names(self.extra_losses)]
        self._group_usage: Any = None
        if (group_logits := outputs.get("group_logits")) is not None:
            self._group_usage = GroupUsage(group_logits.shape[-1])
        self._compiled_mode: tuple[str | None, float, bool, bool] | None = None
        self.skip_nonfinite = False
        # Whether `fit` is about to distribute its data, and whether `FitStrategy` divides them.
        self._fits = self._divided = False
        # Whether the step checks labels itself, because the host cannot see distributed data.
        self._looks = False
        self.built = True

    @property
    def mode(self) -> str | None:
        """The mode of the GroupFace inside, None for a model without groups."""
        return getattr(self.model, "mode", None)

    @mode.setter
    def mode(self, mode: str) -> None:
        if self.mode is None:
            raise ValueError(f"`mode` needs a GroupFace inside. Received: mode={mode!r}")
        self.model.mode = mode

    def call(self, images: Any, training: bool | None = None) -> dict[str, Any]:
        if training:
            return as_outputs(self.model(images, training=True))
        return as_outputs(replicas.without_empty(self.model, images))

    def compile(
        self,
        optimizer: Any = "sgd",
        *,
        skip_nonfinite: bool = False,
        synchronized_batch_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        """Compiles like `keras.Model.compile`, but with the losses from the constructor.

        Args:
            optimizer: a Keras optimizer or its name. Under mixed_float16 it is wrapped in a
                `LossScaling`, unless it is already a loss scaler.
            skip_nonfinite: skip a step on all replicas if its loss or gradients are not finite.
                No variable changes, and the logs leave the step out. This wraps the optimizer
                in a `LossScaling`, whose scale is halved by each skipped step.
            synchronized_batch_norm: with several replicas, compute the statistics of batch
                normalisations over the global batch, as on one device. With False, each
                replica uses its own batch. With one replica, this has no effect.
            **kwargs: further arguments of `keras.Model.compile`.

        Raises:
            ValueError: for a `loss`, and for an optimizer that cannot train a `PartialFC` head.
        """
        if kwargs.get("loss") is not None:
            raise ValueError(
                "`loss` is set by the head and extra_losses of FaceClassifier. "
                f"Received: loss={kwargs['loss']!r}"
            )
        kwargs["loss"] = None
        self.skip_nonfinite = skip_nonfinite
        optimizer = keras.optimizers.get(optimizer)
        applied = getattr(optimizer, "inner_optimizer", optimizer)
        if samples_classes(self.head) and not getattr(applied, "updates_rows", False):
            raise ValueError(
                "`optimizer` must be one that updates sampled centers, such as SGD of "
                f"gfkeras.training.optimizers, with {type(self.head).__name__}. "
                f"Received: optimizer={optimizer!r}"
            )
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            if self.dtype_policy.name == "mixed_float16" and kwargs.get("auto_scale_loss", True):
                optimizer = LossScaling(optimizer)
            elif skip_nonfinite:
                optimizer = LossScaling(optimizer, initial_scale=1.0, dynamic_growth_steps=NEVER)
        super().compile(optimizer=optimizer, **kwargs)
        # Keras' attribute tracking would add this metric to ours, and count it twice.
        object.__setattr__(self, "_loss_tracker", ReplicaMean(name="loss"))
        if self._replicas() > 1:
            replicas.synchronize_batch_norm(self, synchronized_batch_norm)

    def _replicas(self) -> int:
        """Returns the number of replicas of the `tf.distribute` strategy of this model."""
        if keras.backend.backend() != "tensorflow":
            return 1
        return int(self.distribute_strategy.num_replicas_in_sync)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        # Keras does not do this for a class that overrides `compile`.
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
        y = self._labels(y)
        count = ops.shape(y_pred["embedding"])[0]
        if training:
            replicas.check_batch(y_pred["embedding"])
            if self._divided:
                # Leave out the copies of images that `FitStrategy` may have added.
                count = replicas.counted(count)
                x, y, y_pred, sample_weight = keras.tree.map_structure(
                    lambda part: None if part is None else part[:count],
                    (x, y, y_pred, sample_weight),
                )
        loss = ops.zeros((), "float32")
        y_pred = {**y_pred, "embedding": beside_centers(y_pred["embedding"])}
        if self.head is not None:
            loss = self._identity(y, y_pred["embedding"], sample_weight, training)
        if self._group_usage is not None:
            self._group_usage.update_state(y_pred["group_logits"])
        known = {**y_pred, "labels": y}
        if any("centers" in inputs for inputs in self.loss_inputs):
            known["centers"] = ops.convert_to_tensor(self.head.centers)
        if self.teacher is not None:
            taught = as_outputs(self.teacher(x, training=False))
            known["teacher_embedding"] = ops.stop_gradient(taught["embedding"])
        parts = zip(self.extra_losses, self.loss_inputs, self._extra_means, strict=True)
        for extra, inputs, mean in parts:
            arguments = [known[key] for key in inputs]
            if isinstance(extra, keras.layers.Layer):
                value = extra(*arguments, training=training)
            else:
                # `call` does not divide by the number of replicas. The sum is divided below.
                value = extra.call(*arguments)
                value = share_of_mean(value) if len(value.shape) == 1 else ops.mean(value)
            mean.update_state(value, count)
            # A user's loss can have a type other than float32.
            loss = ops.add(loss, value)
        # Losses of layers, such as kernel regularisers. They are equal on every replica.
        for own in self.losses:
            loss = ops.add(loss, ops.sum(ops.cast(own, "float32")))
        if self.skip_nonfinite and training:
            # Multiply rather than select: a NaN chosen by `where` would not reach every replica's
            # gradients.
            finite = on_all_replicas(ops.isfinite(loss))
            loss = ops.multiply(loss, ops.where(finite, 1.0, float("nan")))
        # tf.distribute sums the replicas' gradients.
        return loss / num_replicas()

    def _labels(self, labels: Any) -> Any:
        if labels is None:
            raise ValueError(NO_LABELS.format("no labels"))
        return check_in_step(labels, count_classes(self)) if self._looks else labels

    def _identity(self, labels: Any, embedding: Any, sample_weight: Any, training: bool) -> Any:
        """Returns L1, and updates its logs."""
        logits = self.head.labelled_logits(embedding, labels, training)
        nearest = ops.cast(ops.argmax(logits.plain, axis=-1), "int32")
        hits = ops.cast(ops.equal(nearest, ops.cast(logits.labels, "int32")), "float32")
        losses = softmax_cross_entropy(logits.margin, logits.labels)
        if sample_weight is not None:
            losses = losses * ops.cast(sample_weight, "float32")
        loss = share_of_mean(losses)
        self._identity_loss.update_state(losses)
        self._accuracy.update_state(hits, sample_weight)
        return loss + self.head.regularization(embedding)

    @property
    def distribute_strategy(self) -> Any:
        """The `tf.distribute` strategy in whose scope this model was created (TensorFlow only)."""
        strategy = super().distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return strategy
        return replicas.FitStrategy(strategy, self._divides)

    def _divides(self, wanted: bool) -> bool:
        """Returns whether to divide the batches of a data set evenly.

        Only the first data set that `fit` distributes is for training. The others are for
        validation and are never divided.
        """
        if self._fits:
            self._fits, self._divided, self._loss_tracker.divided = False, wanted, wanted
            return wanted
        return False

    def train_step(self, *arguments: Any) -> Any:
        """Runs one step of `fit`. It takes a batch on TensorFlow, and state and batch on JAX."""
        if keras.backend.backend() != "tensorflow":
            return self._jax_train_step(*arguments)
        if not self.skip_nonfinite:
            return super().train_step(*arguments)
        # In a skipped step, the optimizer does not change the weights. But the forward pass has
        # changed these variables, such as the batch normalisations' averages.
        moved = [*self.non_trainable_variables, *self.metrics_variables]
        # These must be copies. TensorFlow could read an uncopied variable after the step.
        before = [ops.copy(variable) for variable in moved]
        logs = super().train_step(*arguments)
        # This loss is the mean of the epoch so far. Since earlier NaN steps were skipped, it is
        # finite exactly if the loss of this step is.
        finite = on_all_replicas(ops.isfinite(logs["loss"]))
        for variable, value in zip(moved, before, strict=True):
            variable.assign(ops.where(finite, variable, value))
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the logs. Within a step, they are over all replicas and equal on each."""
        if num_replicas() == 1:
            return super().get_metrics_result()
        return replicas.global_results(self.metrics)

    def _jax_train_step(self, state: Any, data: Any) -> Any:
        logs, after = super().train_step(state, data)
        if not self.skip_nonfinite:
            return logs, after
        # On JAX, a step returns the new state, and a skipped step returns the old one. The
        # optimizer has already kept the weights, and its new loss scale must remain.
        finite = ops.isfinite(logs["loss"])
        trainable, moved, optimizer, metrics = after
        moved, metrics = keras.tree.map_structure(
            lambda new, old: ops.where(finite, new, old), (moved, metrics), (state[1], state[3])
        )
        # The logs must come from the metrics that are kept, not from those of the skipped step.
        kept = list(zip(self.metrics_variables, metrics, strict=True))
        with keras.StatelessScope(state_mapping=kept):
            logs = self.get_metrics_result()
        return logs, (trainable, moved, optimizer, metrics)

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        x, given = self._checked(x, y), kwargs.get("validation_data")
        if isinstance(given, (list, tuple)):
            self._checked(*given[:2])
        elif given is not None:
            kwargs["validation_data"] = self._checked(given)
        set_directions(kwargs.get("callbacks"), [mean.name for mean in self._extra_means])
        warn_of_bounds(self.head)
        self._fits, self._divided = True, False
        with label_errors(self):
            return super().fit(x, y, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        self._fits = False
        with label_errors(self):
            return super().evaluate(self._checked(x, y), y, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        return super().train_on_batch(self._checked(x, y), y, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        return super().test_on_batch(self._checked(x, y), y, **kwargs)

    def _checked(self, x: Any, y: Any = None) -> Any:
        """Returns `x` with its labels checked, see `checked_data`."""
        self._looks |= is_distributed(x)
        return checked_data(x, y, count_classes(self))

    # After a change of mode, the step must be traced again.

    def make_train_function(self, force: bool = False) -> Any:
        return super().make_train_function(force=self._mode_changed() or force)

    def make_test_function(self, force: bool = False) -> Any:
        return super().make_test_function(force=self._mode_changed() or force)

    def make_predict_function(self, force: bool = False) -> Any:
        return super().make_predict_function(force=self._mode_changed() or force)

    def _mode_changed(self) -> bool:
        scale = getattr(self.model, "group_scale", 1.0)
        wanted = (self.mode, scale, self._divided, self._looks)
        if wanted == self._compiled_mode:
            return False
        self.train_function = self.test_function = self.predict_function = None
        self._compiled_mode = wanted
        return True

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config: dict[str, Any] = {"name": self.name}
        for key in ("model", "head", "teacher"):
            part = getattr(self, key)
            config[key] = None if part is None else serialize(part)
        config["extra_losses"] = [serialize(loss) for loss in self.extra_losses]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        config = dict(config)
        for key in ("model", "head", "teacher", "extra_losses"):
            config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects)
        return cls(**config)
