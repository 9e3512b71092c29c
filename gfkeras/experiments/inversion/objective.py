"""The loss of an inversion, and its settings."""

import dataclasses
import math
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
from gfkeras.experiments.inversion.steps import seen_through
from gfkeras.heads import ArcFace
from gfkeras.layers.angular import unit_rows
from gfkeras.losses.embedding_loss import softmax_cross_entropy
from gfkeras.models.properties import as_outputs

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
