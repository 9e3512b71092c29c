"""ArcFace: an additive angular margin."""

import math
from typing import Any

from gfkeras.errors import in_range
from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.heads.margins import additive_angular_margin


@registered
class ArcFace(MarginHead):
    """ArcFace (arXiv 1801.07698, equation 3): the target's logit is s·cos(θ_y + m).

    Args:
        num_classes, scale: N, the number of identities, and s.
        margin: m in radians, in [0, π).
        threshold: use cos θ − m·sin m where θ + m > π, as ArcFace's public code does. With
            False, cos(θ + m) rises again there.
        easy_margin: use the margin only where θ < π/2. `threshold` has no effect then.

    Call arguments, returns and errors are those of `MarginHead`.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.ArcFace(num_classes=10)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]))
        >>> tuple(logits.shape)
        (4, 10)
    """

    def __init__(
        self,
        num_classes: int,
        scale: float | str = 64.0,
        margin: float = 0.5,
        threshold: bool = True,
        easy_margin: bool = False,
        **kwargs: Any,
    ):
        super().__init__(num_classes, scale, **kwargs)
        self.margin = in_range("margin", margin, 0, math.pi, " radians")
        self.threshold = bool(threshold)
        self.easy_margin = bool(easy_margin)

    @property
    def margin_at_center(self) -> float:
        return 1.0 - math.cos(self.margin)

    def target_cosine(self, cosine: Any) -> Any:
        return additive_angular_margin(
            cosine, self.margin, threshold=self.threshold, easy_margin=self.easy_margin
        )
