"""The loss of an inversion, its settings, and its compiled steps on views of the image."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.errors import in_range, positive, positive_int, wrong_value
from gfkeras.experiments.inversion.batch_statistics import (
    BatchStatistics,
    recorded_inputs,
    squared_norm,
    total_variation,
)
from gfkeras.heads import ArcFace
from gfkeras.layers.angular import unit_rows
from gfkeras.losses.embedding_loss import softmax_cross_entropy
from gfkeras.models.properties import as_outputs

BACKENDS = ("tensorflow", "jax")


def require_backend() -> None:
    """Raises ValueError on a Keras backend that inversion cannot use."""
    if (name := keras.backend.backend()) not in BACKENDS:
        raise ValueError(
            f"Inversion needs the Keras backend tensorflow or jax. Received: KERAS_BACKEND={name}"
        )


def value_and_gradient(function: Callable[..., Any], images: Any, *others: Any) -> Any:
    """Returns the terms that `function` returns with its loss, and its gradient by `images`."""
    if keras.backend.backend() == "jax":
        import jax

        (_, terms), gradient = jax.value_and_grad(function, has_aux=True)(images, *others)
        return terms, gradient
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        loss, terms = function(images, *others)
    return terms, tape.gradient(loss, images)


def compiled(step: Callable[..., Any], variables: list[Any]) -> Callable[..., Any]:
    """Returns a compiled step of a function of tensors.

    A TensorFlow graph captures the `variables` that it reads. For JAX they become arguments,
    because JAX would copy constants.
    """
    if keras.backend.backend() == "jax":
        import jax

        def stateless(values: list[Any], *arguments: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return step(*arguments)

        jitted = jax.jit(stateless)
        values = [variable.value for variable in variables]
        return lambda *arguments: jitted(values, *arguments)
    import tensorflow as tf

    # The step has no Python control flow that depends on tensors, so autograph is not needed.
    graph = tf.function(step, autograph=False)
    return lambda *arguments: graph(*(tf.convert_to_tensor(value) for value in arguments))


def view_matrix(
    size: int, resolution: int, shift: float = 0.0, mirrored: bool = False
) -> np.ndarray:
    """Returns a matrix (size, resolution) float32 that resamples one axis linearly.

    Its rows sum to 1, and beyond the border it repeats the last pixel. `shift` is in output pixels,
    towards the end of the axis. `mirrored` reverses the axis. Two such matrices make a view of an
    image. They work on every backend, and the gradient is a plain matrix product.
    """
    # The centers of pixels are at halves, so add 0.5 before scaling and subtract it afterwards.
    places = (np.arange(size) + 0.5 - shift) * (resolution / size) - 0.5
    if mirrored:
        places = resolution - 1 - places
    places = np.clip(places, 0, resolution - 1)
    lower = np.floor(places).astype(np.int64)
    upper = np.minimum(lower + 1, resolution - 1)
    matrix = np.zeros((size, resolution), np.float64)
    rows = np.arange(size)
    matrix[rows, lower] += 1 - (places - lower)
    matrix[rows, upper] += places - lower
    return matrix.astype(np.float32)


def seen_through(images: Any, rows: Any, columns: Any) -> Any:
    """Resamples images (B, R, R, C) to (B, S, S, C) by matrices (S, R) for rows and columns."""
    return ops.einsum("wv,bhvc->bhwc", columns, ops.einsum("hv,bvwc->bhwc", rows, images))


def draw_view(
    rng: np.random.Generator, size: int, resolution: int, shift: float, mirror: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the matrices of a random view: moved by up to `shift` pixels, mirrored half the time.

    Three numbers are always drawn, even if they are not needed. One setting then does not change
    the random numbers of another.
    """
    down, across, side = rng.random(3)
    return (
        view_matrix(size, resolution, (2 * down - 1) * shift),
        view_matrix(size, resolution, (2 * across - 1) * shift, mirror and side < 0.5),
    )


# Weight of ‖f/‖f‖ − t‖². For comparison, the ArcFace loss of 5,000 classes starts at about 60.
TEMPLATE_WEIGHT = 40.0


@dataclasses.dataclass(frozen=True)
class InversionSettings:
    """Settings of the optimisation. Weights are those of the paper if it states them.

    Attributes:
        steps: steps of Adam, over all resolutions.
        learning_rate: learning rate of Adam, for images in −1…1. It falls to 0 by half a cosine
            within each resolution.
        finer_rate: factor for the learning rate at each finer resolution. Adam's first steps move
            every pixel by the full rate, whatever its gradient. For small pixels that is noise, and
            a network with large activations does not recover from it.
        identity_weight: weight of the identity term. None means 1 with class centers (the ArcFace
            loss) and `TEMPLATE_WEIGHT` with templates (a squared distance of at most 4).
        statistics_weight: weight of Σ ‖μ̃ − μ‖² + ‖σ̃ − σ‖² over the batch normalisations.
        least_values: batch normalisations with fewer values per channel in a batch are ignored. In
            smaller batches these are the layers after the last feature map.
        variation_weight, norm_weight: weights of the total variation and of ‖x‖².
        coarse: divisors of the image size. The image is optimised at each of these sizes for an
            equal part of the steps, and enlarged in between. (1,) starts at full size.
        shift, mirror: the network sees the image moved by up to `shift` pixels, drawn in each step,
            and mirrored in half of the steps.
    """

    steps: int = 500
    learning_rate: float = 0.25
    finer_rate: float = 0.25
    identity_weight: float | None = None
    statistics_weight: float = 0.05
    least_values: int = 64
    variation_weight: float = 1e-3
    norm_weight: float = 1e-4
    coarse: tuple[int, ...] = (4, 2, 1)
    shift: float = 3.0
    mirror: bool = True

    def __post_init__(self) -> None:
        positive_int("steps", self.steps)
        positive_int("least_values", self.least_values)
        positive("learning_rate", self.learning_rate)
        positive("finer_rate", self.finer_rate)
        if self.identity_weight is not None:
            positive("identity_weight", self.identity_weight)
        for name in ("statistics_weight", "variation_weight", "norm_weight"):
            in_range(name, getattr(self, name), 0, math.inf)
        in_range("shift", self.shift, 0, 57, " pixels")
        if not self.coarse or self.coarse[-1] != 1 or any(part < 1 for part in self.coarse):
            expected = "be divisors of the image's size that end with 1, such as (4, 2, 1)"
            raise wrong_value("coarse", expected, self.coarse)

    def spans(self) -> list[tuple[int, int, float]]:
        """Returns (divisor, steps, learning rate) of each resolution. All steps sum to `steps`."""
        count = len(self.coarse)
        # Steps that do not divide evenly go to the finest resolutions, where the image is finished.
        shares = [(self.steps * (i + 1)) // count - (self.steps * i) // count for i in range(count)]
        rates = [self.learning_rate * self.finer_rate**i for i in range(count)]
        return [span for span in zip(self.coarse, shares, rates, strict=True) if span[1]]


class Objective:
    """Identity + λ·statistics + total variation + ‖x‖², the loss of ArcFace's inversion.

    With class centers (C, D), the identity term is the ArcFace loss against all of them (close-set,
    s = 64, m = 0.5). Without centers, it is the squared distance of the normalised feature to the
    target (open-set). Identity and statistics are computed from the view that the network sees, the
    other two terms from the image. The model takes images in 0…255, returns an embedding and runs
    in inference mode, as in a real attack.
    """

    def __init__(
        self, model: keras.Model, settings: InversionSettings, centers: np.ndarray | None = None
    ):
        self.model = model
        self.settings = settings
        self.statistics = BatchStatistics(model, settings.least_values)
        self.head: ArcFace | None = None
        if centers is not None:
            # Use the head itself, so that the loss equals the loss in training.
            self.head = ArcFace(len(centers))
            self.head.build((None, centers.shape[1]))
            self.head.centers.assign(centers)
        usual = TEMPLATE_WEIGHT if self.head is None else 1.0
        given = settings.identity_weight
        self.identity_weight = usual if given is None else given

    @property
    def variables(self) -> list[Any]:
        """The variables that a compiled step reads."""
        return [*self.model.variables, *(self.head.variables if self.head is not None else [])]

    def __call__(
        self, images: Any, rows: Any, columns: Any, targets: Any, labels: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Returns the loss of a batch and its unweighted terms, all scalars.

        Images are (B, R, R, 3) in −1…1, `rows` and `columns` (S, R) from `draw_view`, `targets`
        (B, D) unit rows, and `labels` (B,) positions in the centers, ignored without centers.
        """
        seen = seen_through(images, rows, columns)
        with recorded_inputs(self.statistics.layers) as inputs:
            # In inference the model normalises by its moving statistics. The batch statistics are
            # only compared with them.
            outputs = as_outputs(self.model((seen + 1.0) * 127.5, training=False))
        feature = unit_rows(outputs["embedding"])
        if self.head is None:
            identity = ops.mean(ops.sum(ops.square(feature - targets), axis=-1))
        else:
            identity = ops.mean(softmax_cross_entropy(self.head(feature, labels), labels))
        terms = {
            "identity": identity,
            "statistics": self.statistics.distance(inputs),
            "variation": total_variation(images),
            "norm": squared_norm(images),
        }
        loss = self.identity_weight * identity
        for name in ("statistics", "variation", "norm"):
            loss = loss + getattr(self.settings, f"{name}_weight") * terms[name]
        cosine = ops.mean(ops.sum(feature * targets, axis=-1))
        return loss, terms | {"cosine": cosine, "loss": loss}
