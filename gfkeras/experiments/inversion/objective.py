"""The loss that images are optimised by."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.experiments.inversion.batch_statistics import BatchStatistics, recorded_inputs
from gfkeras.experiments.inversion.settings import InversionSettings
from gfkeras.experiments.inversion.terms import squared_norm, total_variation
from gfkeras.experiments.inversion.views import seen_through
from gfkeras.heads import ArcFace
from gfkeras.layers.angular import unit_rows
from gfkeras.losses.softmax import softmax_cross_entropy
from gfkeras.models.outputs import as_outputs

# Of ‖f/‖f‖ − t‖², where the ArcFace loss of 5,000 classes starts at about 60.
TEMPLATE_WEIGHT = 40.0


class Objective:
    """identity + λ·statistics + total variation + ‖x‖², as ArcFace's inversion has it.

    The identity's term is the ArcFace loss against all class centers (close-set, s = 64, m = 0.5)
    or, without centers, the squared distance of the normalised feature to the target (open-set).
    It and the statistics are those of what the network sees, the other two of the image.

    Args:
        model: from images in 0…255 to an embedding; in inference, as it would be attacked.
        settings: the weights.
        centers: (C, D) for the close-set form, None for the open-set one.

    Raises:
        ValueError: for a model without batch normalisation.
    """

    def __init__(
        self, model: keras.Model, settings: InversionSettings, centers: np.ndarray | None = None
    ):
        self.model = model
        self.settings = settings
        self.statistics = BatchStatistics(model, settings.least_values)
        self.head: ArcFace | None = None
        if centers is not None:
            self.head = ArcFace(len(centers))
            self.head.build((None, centers.shape[1]))
            self.head.centers.assign(centers)
        weight = settings.identity_weight
        if weight is None:
            weight = TEMPLATE_WEIGHT if self.head is None else 1.0
        self.identity_weight = weight

    @property
    def variables(self) -> list[Any]:
        """Those that a compiled step reads."""
        return [*self.model.variables, *(self.head.variables if self.head is not None else [])]

    def __call__(
        self, images: Any, rows: Any, columns: Any, targets: Any, labels: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The loss of a batch, and its terms without their weights.

        Args:
            images: (B, R, R, 3) float32 in −1…1.
            rows, columns: (S, R), of `draw_view`.
            targets: (B, D) float32, unit rows.
            labels: (B,) int32, rows of the centers; of no use without them.

        Returns:
            A scalar, and scalars "identity", "statistics", "variation", "norm", "cosine".
        """
        seen = seen_through(images, rows, columns)
        with recorded_inputs(self.statistics.layers) as inputs:
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
        loss = (
            self.identity_weight * terms["identity"]
            + self.settings.statistics_weight * terms["statistics"]
            + self.settings.variation_weight * terms["variation"]
            + self.settings.norm_weight * terms["norm"]
        )
        cosine = ops.mean(ops.sum(feature * targets, axis=-1))
        return loss, terms | {"cosine": cosine, "loss": loss}
