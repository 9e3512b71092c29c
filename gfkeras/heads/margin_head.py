"""Base class of the margin heads, and the registry of their names."""

from typing import Any, NamedTuple, TypeVar

import keras
from keras import ops

from gfkeras.errors import positive, positive_int
from gfkeras.heads.bounds import AUTO_PROBABILITY, bound_warnings, cosface_scale_lower_bound
from gfkeras.heads.margins import replace_target
from gfkeras.layers.angular import project, row_norms, unit_rows
from gfkeras.layers.checks import Shape, check_embeddings, check_labels, check_two_axes
from gfkeras.saving import Configured

Head = TypeVar("Head", bound="MarginHead")

# The heads by name. `registered` adds them.
HEADS: dict[str, "type[MarginHead]"] = {}


def registered(head: type[Head]) -> type[Head]:
    """Registers a head by its name, for gfkeras and for models saved by Keras (a decorator)."""
    HEADS[head.__name__] = keras.saving.register_keras_serializable("gfkeras")(head)
    return head


class HeadLogits(NamedTuple):
    """The logits of a labelled batch.

    Attributes:
        margin: (B, N) float32, with the margin on each row's class.
        plain: (B, N) float32, without the margin.
        labels: (B,) int, the column of each row's class.
    """

    margin: Any
    plain: Any
    labels: Any


class MarginHead(Configured, keras.layers.Layer):
    """Base of the margin heads: one center per identity, logits s·f(cos θ).

    A subclass implements `target_cosine`, which maps the target's cosine to the cosine with
    the margin. If the margin depends on more than the cosine, it overrides `with_margin`
    instead. All arithmetic is float32 under any dtype policy: in bfloat16 a cosine has only
    3 digits, too few for an angle.

    Args:
        num_classes: N, the number of identities.
        scale: s, which multiplies all logits. "auto" takes the smallest s with which embeddings
            can reach a probability of 0.99 of their class with the head's margin:
            `cosface_scale_lower_bound(num_classes, 0.99, margin_at_center)`. The config then
            holds this number.

    Call arguments:
        embedding: (B, D) float, not normalised.
        labels: (B,) int in [0, N), or None for s·cos θ without a margin.
        training: whether the head updates its own state, if it has one.

    Returns:
        Logits, (B, N) float32.

    Raises:
        ValueError: for embeddings that are not 2-D floats, for float labels, and for labels
            of another length. Eagerly also for labels outside [0, N) and for embeddings that
            are not finite. In a compiled step, a label outside [0, N) gives a row without a
            margin, whose `gfkeras.losses.softmax_cross_entropy` is NaN, and embeddings that
            are not finite give logits that are not finite.
    """

    # Initializer of the centers. None stands for a normal distribution with deviation 0.01.
    centers_initializer: Any = None
    # Whether the logits are s times cosines, so that CosFace's bounds apply.
    normalizes: bool = True

    def __init__(self, num_classes: int, scale: float | str = 64.0, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.num_classes = positive_int("num_classes", num_classes)
        self._scale: float | str = "auto"
        if not isinstance(scale, str):
            self._scale = positive("scale", scale)
        elif scale != "auto":
            raise ValueError(f'`scale` must be positive or "auto". Received: scale={scale!r}')
        else:
            # Refuses too few classes here, not at the first use.
            cosface_scale_lower_bound(self.num_classes, AUTO_PROBABILITY)

    @property
    def scale(self) -> float:
        """s as a number, also for "auto"."""
        if not isinstance(self._scale, str):
            return self._scale
        # A subclass sets its margin after this class's `__init__`, so this is computed later.
        margin, classes = self.margin_at_center, self.num_classes
        if margin >= classes / (classes - 1):
            raise ValueError(
                '`scale` cannot be "auto" with a margin that no embedding can keep. Received: '
                f"{margin:.4g} off the cosine at the center, at or above C/(C − 1) = "
                f"{classes / (classes - 1):.4g} for {classes} classes"
            )
        return cosface_scale_lower_bound(classes, AUTO_PROBABILITY, margin)

    @property
    def margin_at_center(self) -> float:
        """1 − f(1): how far the margin lowers the target's cosine at the center itself."""
        return 0.0

    def bound_warnings(self) -> list[str]:
        """Returns a sentence for each of CosFace's bounds that the built head breaks."""
        return bound_warnings(self)

    def build(self, embedding_shape: Shape, labels_shape: Any = None) -> None:
        dimensions = check_two_axes("embedding", embedding_shape, known=True)
        # Refuses a margin that is too large for "auto" before the first step.
        _ = self.scale
        self.centers = self.add_weight(
            name="centers",
            shape=self.centers_shape(dimensions),
            initializer=self.centers_initializer or keras.initializers.RandomNormal(stddev=0.01),
            dtype="float32",
        )

    def centers_shape(self, dimensions: int) -> tuple[int, ...]:
        """Returns (N, D), or (N, K, D) for a head with K centers per identity."""
        return (self.num_classes, dimensions)

    def call(self, embedding: Any, labels: Any = None, training: bool | None = None) -> Any:
        if labels is None:
            return self.logits(embedding)
        return self.labelled_logits(embedding, labels, training).margin

    def labelled_logits(
        self, embedding: Any, labels: Any, training: bool | None = None
    ) -> HeadLogits:
        """Returns the logits with and without the margin, with arguments and errors of `call`."""
        centers, labels = self.choose(labels, training)
        plain = self.logits(embedding, centers)
        labels = check_labels(labels, plain.shape[1], plain)
        return HeadLogits(self.with_margin(plain, labels, embedding, training), plain, labels)

    @property
    def samples(self) -> int:
        """R, the number of classes in a training step: N, or fewer with `PartialFC`."""
        return self.num_classes

    def choose(self, labels: Any, training: bool | None = None) -> tuple[Any, Any]:
        """Returns the centers for `logits` in a step, and the labels as columns of those logits.

        None stands for all centers. Only `PartialFC` chooses some, and changes the labels.
        """
        del training
        return None, labels

    def logits(self, embedding: Any, centers: Any = None) -> Any:
        """Returns s·cos θ_j of each embedding with each center, (B, N) float32.

        `centers` come from `choose`: R classes give (B, R) logits. None stands for all classes.
        """
        # Scaling (B, D) instead of (B, N) saves two passes over the larger array.
        embedding = unit_rows(check_embeddings(embedding)) * self.scale
        return project(embedding, self.centers if centers is None else centers)

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        """Returns the logits (B, N) with the margin on the target class.

        `labels` are the columns of the rows' classes. `embedding` (B, D) is for heads whose
        margin depends on its norm.
        """

        def with_its_margin(target: Any) -> Any:
            # Rounding can put a cosine outside [−1, 1], where no angle exists.
            return self.scale * self.target_cosine(ops.clip(target / self.scale, -1.0, 1.0))

        return replace_target(logits, labels, with_its_margin)

    def target_cosine(self, cosine: Any) -> Any:
        """Maps the target's cosine in [−1, 1], (B, 1), to the cosine with the margin, (B, 1)."""
        raise NotImplementedError

    def add_state(self, name: str, start: float) -> Any:
        """Adds a scalar variable that training updates, equal on every replica."""
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(start),
            trainable=False,
            dtype="float32",
            # Each replica computes the same value from the global batch.
            aggregation="only_first_replica",
        )

    def norms(self, embedding: Any) -> Any:
        """Returns ‖x‖, (B, 1) float32, for heads whose margin or scale depends on it."""
        if embedding is None:
            raise ValueError("`embedding` is needed for its norm. Received: None")
        return row_norms(embedding)

    def regularization(self, embedding: Any) -> Any:
        """Returns the head's own loss term, besides the cross-entropy: a scalar float32.

        It is 0 for all heads except `MagFace`, and `PartialFC` with `MagFace` inside. In training,
        `call` adds it to the layer's `losses`, and `gfkeras.models.FaceClassifier` adds it itself.
        """
        del embedding
        return ops.zeros((), "float32")

    def compute_output_spec(
        self, embedding: Any, labels: Any = None, training: bool | None = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor((embedding.shape[0], self.num_classes), dtype="float32")
