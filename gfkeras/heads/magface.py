"""MagFace: a margin that grows with the feature's magnitude."""

import math
from typing import Any

from keras import ops

from gfkeras.errors import in_range, positive
from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.heads.margins import additive_angular_margin, replace_target
from gfkeras.layers.replica import share_of_mean


@registered
class MagFace(MarginHead):
    """MagFace (arXiv 2103.06627): ArcFace with a margin m(a), plus λ_g·g(a), where a = ‖x‖.

    m(a) = l_m + (u_m − l_m)·(a − l_a) / (u_a − l_a). The loss term g(a) = 1/a + a/u_a² rewards
    large norms, which only easy images can afford, so the norm becomes a measure of image
    quality. a is clipped to [l_a, u_a], and the gradients of m and g are 0 outside, as in the
    public code. The paper's proof needs
    λ_g ≥ s·(u_m − l_m)/(u_a − l_a) · u_a²·l_a² / (u_a² − l_a²), which is 22.6 with the defaults.

    Args:
        num_classes, scale: N, the number of identities, and s.
        lower_norm: l_a, positive.
        upper_norm: u_a, greater than l_a.
        lower_margin: l_m in radians, in [0, π).
        upper_margin: u_m in radians, in [l_m, π).
        regularization_weight: λ_g.
        threshold, easy_margin: as in `ArcFace`. The public code uses easy_margin=True.

    Call arguments, returns and errors are those of `MarginHead`. A call with labels and
    training=True adds λ_g·mean g(a) to `losses`, which `model.fit` sums.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.MagFace(num_classes=10)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]), training=True)
        >>> round(float(head.losses[0]), 3)  # 35 · (1/√512 + √512/110²)
        1.612
    """

    def __init__(
        self,
        num_classes: int,
        scale: float | str = 64.0,
        lower_norm: float = 10.0,
        upper_norm: float = 110.0,
        lower_margin: float = 0.45,
        upper_margin: float = 0.8,
        regularization_weight: float = 35.0,
        threshold: bool = True,
        easy_margin: bool = False,
        **kwargs: Any,
    ):
        super().__init__(num_classes, scale, **kwargs)
        self.lower_norm = positive("lower_norm", lower_norm)
        self.upper_norm = positive("upper_norm", upper_norm)
        if self.upper_norm <= self.lower_norm:
            raise ValueError(
                f"`upper_norm` must be greater than lower_norm={lower_norm}. "
                f"Received: upper_norm={upper_norm!r}"
            )
        self.lower_margin = in_range("lower_margin", lower_margin, 0, math.pi, " radians")
        least = self.lower_margin
        self.upper_margin = in_range("upper_margin", upper_margin, least, math.pi, " radians")
        weight = in_range("regularization_weight", regularization_weight, 0, math.inf)
        self.regularization_weight = weight
        self.threshold = bool(threshold)
        self.easy_margin = bool(easy_margin)

    @property
    def margin_at_center(self) -> float:
        return 1.0 - math.cos(self.upper_margin)

    def call(self, embedding: Any, labels: Any = None, training: bool | None = None) -> Any:
        if training and labels is not None:
            self.add_loss(self.regularization(embedding))
        return super().call(embedding, labels, training)

    def magnitude(self, embedding: Any) -> Any:
        """Returns a = ‖x‖, clipped to [l_a, u_a], (B, 1) float32."""
        return ops.clip(self.norms(embedding), self.lower_norm, self.upper_norm)

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        slope = (self.upper_margin - self.lower_margin) / (self.upper_norm - self.lower_norm)
        margin = self.lower_margin + slope * (self.magnitude(embedding) - self.lower_norm)

        def with_its_margin(target: Any) -> Any:
            return self.scale * additive_angular_margin(
                ops.clip(target / self.scale, -1.0, 1.0),
                margin,
                threshold=self.threshold,
                easy_margin=self.easy_margin,
            )

        return replace_target(logits, labels, with_its_margin)

    def regularization(self, embedding: Any) -> Any:
        """Returns λ_g · mean g(a), a scalar float32."""
        magnitude = self.magnitude(embedding)
        g = 1.0 / magnitude + magnitude / self.upper_norm**2
        return self.regularization_weight * share_of_mean(g[:, 0])
