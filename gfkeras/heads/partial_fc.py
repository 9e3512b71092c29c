"""Partial FC: a margin head over a sample of the identities."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.errors import by_name, nearest, positive_int
from gfkeras.heads.initializers import CentersInitializer, PlaceInitializer
from gfkeras.heads.margin_head import HEADS, MarginHead, registered
from gfkeras.layers.checks import Shape, check_labels, in_classes, known_values
from gfkeras.layers.replica import global_batch
from gfkeras.layers.rows import DrawnRows, SampledRows

# The row index is passed as a float32 gradient, which is exact up to this number.
MAX_CLASSES = 2**24


@registered
class PartialFC(MarginHead):
    """Partial FC (arXiv 2203.15565): all positive centers and random negatives, in each step.

    A training step uses the centers of R identities: all identities of the global batch, and
    random others, each with the same probability. `head` puts its margin on their logits, and
    only they get a gradient, so the time and memory of a step depend on R instead of N. All
    replicas draw the same identities. Without labels, or outside training, the logits are
    those of all N identities.

    Use an optimizer of `gfkeras.training.optimizers`. It applies weight decay, momentum and
    updates to the R rows only, and leaves all other rows and their momentum unchanged. Other
    optimizers would not train the centers, so `gfkeras.models.FaceClassifier` refuses them.
    With R = N the result is `head` itself, and any optimizer works.

    Args:
        num_classes: N, the number of identities, at most 2^24.
        sample_rate: r in (0, 1], which gives R = r·N, rounded.
        head: the inner margin head: a name in `gfkeras.heads`, or a `MarginHead` with N
            classes that is not built yet.
        head_arguments: arguments for a head given by name, such as {"margin": 0.35}.
        batch_size: the batch size of all replicas together. R is at least this, so the
            positives always fit. Recipes set it from [training].
        seed: seed of the sampling. The sample depends only on seed, step and labels.

    Attributes:
        inner: the inner margin head.
        samples: R.
        step: the number of samples drawn so far, a variable that is saved and restored.

    Call arguments are those of `MarginHead`.

    Returns:
        Logits, (B, N) float32. In training with labels (B, R), in the order of the drawn
        identities.

    Raises:
        ValueError: as in `MarginHead`, and if the batch has more identities than R. In a
            compiled step, TensorFlow without XLA raises InvalidArgumentError instead. With
            XLA and on JAX, the images that do not fit get a NaN loss.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.PartialFC(num_classes=1000, sample_rate=0.1, head="CosFace")
        >>> embedding, labels = np.ones((4, 512), "float32"), np.array([0, 3, 999, 3])
        >>> logits = head(embedding, labels, training=True)
        >>> tuple(logits.shape), tuple(head(embedding, labels).shape)
        ((4, 100), (4, 1000))
    """

    def __init__(
        self,
        num_classes: int,
        sample_rate: float = 0.1,
        head: str | MarginHead | Mapping[str, Any] = "ArcFace",
        head_arguments: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        num_classes = positive_int("num_classes", num_classes)
        if num_classes > MAX_CLASSES:
            raise ValueError(
                f"`num_classes` must be at most {MAX_CLASSES}. Received: num_classes={num_classes}"
            )
        if isinstance(sample_rate, bool) or not 0 < sample_rate <= 1:
            raise ValueError(
                f"`sample_rate` must be in (0, 1]. Received: sample_rate={sample_rate!r}"
            )
        inner = _inner_head(head, head_arguments, num_classes)
        super().__init__(num_classes, inner.scale, **kwargs)
        self.sample_rate = float(sample_rate)
        self.head = head if isinstance(head, str) else keras.saving.serialize_keras_object(inner)
        self.head_arguments = dict(head_arguments or {})
        self.batch_size = None if batch_size is None else positive_int("batch_size", batch_size)
        self.seed = int(seed)
        self.inner = inner
        self.normalizes = inner.normalizes
        wanted = max(1, round(self.sample_rate * self.num_classes), self.batch_size or 0)
        self._samples = min(wanted, self.num_classes)

    @property
    def samples(self) -> int:
        return self._samples

    @property
    def margin_at_center(self) -> float:
        return self.inner.margin_at_center

    @property
    def centers(self) -> Any:
        """The centers of the inner head, (N, D) or (N, K, D)."""
        return self.inner.centers

    def build(self, embedding_shape: Shape, labels_shape: Any = None) -> None:
        if self.samples == self.num_classes:
            self.inner.build(embedding_shape)
            return
        self.inner.centers_initializer = CentersInitializer()
        self.inner.build(embedding_shape)
        self.step = self.add_state("step", 0.0)
        # `SampledRows` describes these two variables. Saved files do not contain them.
        self.row_gradient = self.add_weight(
            name="row_gradient",
            shape=(self.samples, *self.centers.shape[1:]),
            initializer=PlaceInitializer(),
            dtype="float32",
        )
        self.row_index = self.add_weight(
            name="row_index",
            shape=(self.samples,),
            initializer="zeros",
            dtype="float32",
            aggregation="only_first_replica",
            overwrite_with_gradient=True,
        )
        self._rows = SampledRows(self.centers, self.row_gradient, self.row_index)
        for variable in (self.centers, self.row_gradient, self.row_index):
            variable.sampled_rows = self._rows

    def choose(self, labels: Any, training: bool | None = None) -> tuple[Any, Any]:
        if not training or self.samples == self.num_classes:
            return None, labels
        labels = ops.cast(check_labels(labels, self.num_classes), "int32")
        index = self.sample(labels)
        # A label outside [0, N) has no column, so its loss becomes NaN.
        column = ops.cast(ops.searchsorted(index, labels), "int32")
        found = ops.take(index, ops.clip(column, 0, self.samples - 1), axis=0)
        column = ops.where(ops.equal(found, labels), column, -1)
        self._check_all_found(labels, column)
        return DrawnRows(self._rows, index), column

    def sample(self, labels: Any) -> Any:
        """Draws R identities and counts the step.

        `labels` (B,) int32 are those of this replica. Returns (R,) int32, sorted, equal on every
        replica.
        """
        positives = ops.clip(global_batch(labels), 0, self.num_classes - 1)
        step = ops.cast(self.step, "int32")
        self.step.assign(self.step + 1.0)
        scores = _uniform(self.num_classes, self.seed, step)
        # Random scores are below 1, so these identities are always chosen.
        twos = ops.full(ops.shape(positives), 2.0, dtype="float32")
        scores = ops.scatter_update(scores, ops.expand_dims(positives, -1), twos)
        _, index = ops.top_k(scores, self.samples, sorted=False)
        return ops.sort(ops.cast(index, "int32"))

    def _check_all_found(self, labels: Any, column: Any) -> None:
        missing = ops.logical_and(column < 0, in_classes(labels, self.num_classes))
        message = (
            f"`sample_rate` must leave space for all identities of a batch. sample_rate="
            f"{self.sample_rate} of {self.num_classes} gives {self.samples}. Set `batch_size` "
            "of PartialFC."
        )
        values = known_values(missing)
        if values is not None:
            if np.any(values):
                raise ValueError(f"{message} Received: a batch of {len(values)} images")
        elif keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.debugging.Assert(tf.logical_not(tf.reduce_any(missing)), [message])

    def logits(self, embedding: Any, centers: Any = None) -> Any:
        return self.inner.logits(embedding, centers)

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        return self.inner.with_margin(logits, labels, embedding, training)

    def regularization(self, embedding: Any) -> Any:
        return self.inner.regularization(embedding)

    def call(self, embedding: Any, labels: Any = None, training: bool | None = None) -> Any:
        if training and labels is not None:
            self.add_loss(self.regularization(embedding))
        return super().call(embedding, labels, training)

    def compute_output_spec(
        self, embedding: Any, labels: Any = None, training: bool | None = None
    ) -> keras.KerasTensor:
        classes = self.samples if training and labels is not None else self.num_classes
        return keras.KerasTensor((embedding.shape[0], classes), dtype="float32")

    def save_own_variables(self, store: Any) -> None:
        if self.samples < self.num_classes:
            store["step"] = ops.convert_to_numpy(self.step)

    def load_own_variables(self, store: Any) -> None:
        if self.samples < self.num_classes:
            self.step.assign(store["step"])


def _inner_head(head: Any, arguments: Mapping[str, Any] | None, num_classes: int) -> MarginHead:
    """Returns the head for a name, a config or a head. Raises ValueError for anything else."""
    if isinstance(head, str):
        found = by_name("head", head, HEADS)
        if found is PartialFC:
            raise ValueError(f"`head` must be another head than PartialFC. Received: head={head!r}")
        accepted = {*inspect.signature(found.__init__).parameters} - {
            "self",
            "kwargs",
            "num_classes",
        }
        for name in arguments or {}:
            if name not in accepted:
                guess = nearest(name, accepted)
                hint = f"; did you mean {guess!r}?" if guess else ""
                raise ValueError(f"Unknown key {name!r} in `head_arguments` of {head}{hint}")
        return found(num_classes=num_classes, **(arguments or {}))
    if isinstance(head, Mapping):
        head = keras.saving.deserialize_keras_object(dict(head))
    if not isinstance(head, MarginHead) or isinstance(head, PartialFC):
        raise ValueError(f"`head` must be a name or a MarginHead. Received: head={head!r}")
    if arguments:
        raise ValueError(
            "`head_arguments` can only be given with a `head` by name. "
            f"Received: head_arguments={dict(arguments)}"
        )
    if head.num_classes != num_classes or head.built:
        raise ValueError(
            f"`head` must have {num_classes} classes and not be built yet. Received: a "
            f"{type(head).__name__} of {head.num_classes} classes, built={head.built}"
        )
    return head


def _uniform(count: int, seed: int, step: Any) -> Any:
    """Returns (count,) float32 in [0, 1) that depend on seed and step only, on every device."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.random.stateless_uniform((count,), seed=tf.stack([tf.constant(seed), step]))
    import jax

    return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), step), (count,))
