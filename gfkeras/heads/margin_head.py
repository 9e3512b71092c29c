"""The base of the margin heads, and their names."""

from typing import Any, NamedTuple, TypeVar

import keras
from keras import ops

from gfkeras.errors import positive, positive_int
from gfkeras.heads.margins import replace_target
from gfkeras.layers.angular import project, row_norms, unit_rows
from gfkeras.layers.checks import Shape, check_embeddings, check_labels, check_two_axes
from gfkeras.saving import Configured

Head = TypeVar("Head", bound="MarginHead")

# The heads by name, which `registered` fills.
HEADS: dict[str, "type[MarginHead]"] = {}


def registered(head: type[Head]) -> type[Head]:
    """Class decorator: makes a head known by its name to gfkeras and to Keras' saved models."""
    HEADS[head.__name__] = keras.saving.register_keras_serializable("gfkeras")(head)
    return head


class HeadLogits(NamedTuple):
    """What a head computes of a labelled batch.

    Attributes:
        margin: (B, N) float32, with the margin on each row's class.
        plain: (B, N) float32, without it.
        labels: (B,) int, the column of each row's class.
    """

    margin: Any
    plain: Any
    labels: Any


class MarginHead(Configured, keras.layers.Layer):
    """Base of the margin heads: one center per identity, logits s·f(cos θ).

    A subclass states in `target_cosine` what becomes of the target's cosine, or, where
    that takes more than the cosine, in `with_margin`. All arithmetic is float32 under
    any dtype policy, since a margin is taken of an angle whose cosine has 3 digits in
    bfloat16.

    Args:
        num_classes: N, the number of identities.
        scale: s, multiplies all logits.

    Call arguments:
        embedding: (B, D) float, not normalised.
        labels: (B,) int in [0, N), or None for s·cos θ without a margin.
        training: whether a head with a state of its own moves it on.

    Returns:
        Logits, (B, N) float32.

    Raises:
        ValueError: for embeddings that are not 2-D floats, float labels, labels of another
            length, and, where values are known (eagerly), labels outside [0, N) and
            embeddings that are not finite. In a compiled step a label outside [0, N)
            gives a row without a margin, for which
            `gfkeras.losses.softmax_cross_entropy` is NaN; embeddings that are not
            finite give logits that are not.
    """

    # What `build` draws the centers with; None for a normal distribution of deviation 0.01.
    centers_initializer: Any = None

    def __init__(self, num_classes: int, scale: float = 64.0, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.num_classes = positive_int("num_classes", num_classes)
        self.scale = positive("scale", scale)

    def build(self, embedding_shape: Shape, labels_shape: Any = None) -> None:
        dimensions = check_two_axes("embedding", embedding_shape, known=True)
        self.centers = self.add_weight(
            name="centers",
            shape=self.centers_shape(dimensions),
            initializer=self.centers_initializer or keras.initializers.RandomNormal(stddev=0.01),
            dtype="float32",
        )

    def centers_shape(self, dimensions: int) -> tuple[int, ...]:
        """(N, D), or (N, K, D) where an identity has K centers."""
        return (self.num_classes, dimensions)

    def call(self, embedding: Any, labels: Any = None, training: bool | None = None) -> Any:
        if labels is None:
            return self.logits(embedding)
        return self.labelled_logits(embedding, labels, training).margin

    def labelled_logits(
        self, embedding: Any, labels: Any, training: bool | None = None
    ) -> HeadLogits:
        """The logits with and without the margin; arguments and errors as of `call`."""
        centers, labels = self.choose(labels, training)
        plain = self.logits(embedding, centers)
        labels = check_labels(labels, plain.shape[1], plain)
        return HeadLogits(self.with_margin(plain, labels, embedding, training), plain, labels)

    @property
    def samples(self) -> int:
        """R, how many classes a training step has logits of; N but for `PartialFC`."""
        return self.num_classes

    def choose(self, labels: Any, training: bool | None = None) -> tuple[Any, Any]:
        """The centers that `logits` takes in a step, and the labels as columns of these logits.

        None, for all centers, and the labels as they are but for `PartialFC`.
        """
        del training
        return None, labels

    def logits(self, embedding: Any, centers: Any = None) -> Any:
        """s·cos θ_j of each embedding with each center, (B, N) float32.

        `centers` are those of `choose`, R classes for (B, R) logits; None for all.
        """
        # Scaling (B, D) instead of (B, N) saves two passes over the larger array.
        embedding = unit_rows(check_embeddings(embedding)) * self.scale
        return project(embedding, self.centers if centers is None else centers)

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        """The logits (B, N) with the margin on the target class.

        `labels` are the columns of the rows' classes. Heads whose margin depends on the norm of
        the embedding (B, D) need it.
        """

        def with_its_margin(target: Any) -> Any:
            # Rounding puts cosines outside [−1, 1], where there is no angle.
            return self.scale * self.target_cosine(ops.clip(target / self.scale, -1.0, 1.0))

        return replace_target(logits, labels, with_its_margin)

    def target_cosine(self, cosine: Any) -> Any:
        """What replaces the target's cosine in [−1, 1], (B, 1) in and out."""
        raise NotImplementedError

    def add_state(self, name: str, start: float) -> Any:
        """A scalar variable that training moves on, the same on every replica."""
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
        """‖x‖, (B, 1) float32, for the heads whose margin or scale depends on it."""
        if embedding is None:
            raise ValueError("`embedding` is needed for its norm. Received: None")
        return row_norms(embedding)

    def regularization(self, embedding: Any) -> Any:
        """What the head adds to the loss besides its logits' cross-entropy, a scalar float32.

        0 but for `MagFace`. `call` adds it to `losses` of the layer in training;
        `gfkeras.models.FaceClassifier` adds it itself.
        """
        del embedding
        return ops.zeros((), "float32")

    def compute_output_spec(
        self, embedding: Any, labels: Any = None, training: bool | None = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor((embedding.shape[0], self.num_classes), dtype="float32")
