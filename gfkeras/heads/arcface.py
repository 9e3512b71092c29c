"""ArcFace: an additive angular margin."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from gfkeras.heads.margin_head import MarginHead

# Below this sin²θ the angle is beyond float32's resolution of its cosine; the bound
# keeps the square root's gradient finite at θ = 0 and π.
MIN_SQUARED_SINE = 1e-7


def additive_angular_margin(cosine: Any, margin: float) -> Any:
    """cos(θ + m), continued where θ + m > π.

    cos(θ + m) = cos θ·cos m − sin θ·sin m falls with θ up to θ = π − m and rises
    beyond. There ArcFace's public code goes on with cos θ − m·sin m, which falls
    all the way, as a target logit must.

    Args:
        cosine: cos θ in [−1, 1], float32, any shape.
        margin: m in radians.

    Returns:
        The same shape; finite, with finite gradients, at θ = 0 and π too.
    """
    sine = ops.sqrt(ops.maximum(1.0 - ops.square(cosine), MIN_SQUARED_SINE))
    shifted = cosine * math.cos(margin) - sine * math.sin(margin)
    continued = cosine - margin * math.sin(margin)
    return ops.where(cosine > math.cos(math.pi - margin), shifted, continued)


@keras.saving.register_keras_serializable("gfkeras")
class ArcFace(MarginHead):
    """ArcFace (arXiv 1801.07698, equation 3): the target's logit is s·cos(θ_y + m).

    Args:
        num_classes: N, the number of identities.
        scale: s.
        margin: m in radians, in [0, π).

    Call arguments:
        embedding: (B, D) float, not normalised.
        labels: (B,) int in [0, N), or None for s·cos θ.

    Returns:
        Logits, (B, N) float32.

    Example:
        >>> head = ArcFace(num_classes=10)
        >>> logits = head(np.random.normal(size=(4, 512)), np.array([0, 3, 9, 3]))
        >>> logits.shape
        (4, 10)
    """

    def __init__(self, num_classes: int, scale: float = 64.0, margin: float = 0.5, **kwargs: Any):
        super().__init__(num_classes, scale, **kwargs)
        if not 0 <= margin < math.pi:
            raise ValueError(f"`margin` must be in [0, π) radians. Received: margin={margin!r}")
        self.margin = float(margin)

    def target_cosine(self, cosine: Any) -> Any:
        return additive_angular_margin(cosine, self.margin)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}
