"""The combined margin: multiplicative, angular and additive."""

import math
from typing import Any

from gfkeras.errors import in_range, positive
from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.heads.margins import combined_margin


@registered
class CombinedMargin(MarginHead):
    """Combined margin (arXiv 1801.07698, equation 4): s·(cos(m1·θ_y + m2) − m3).

    The paper's CM1 is (1, 0.3, 0.2), and its CM2 is (0.9, 0.4, 0.15). All three margins
    always apply, while public code with this formula ignores m1 and m2 if m3 > 0.

    Args:
        num_classes, scale: N, the number of identities, and s.
        m1: SphereFace's factor of the angle, positive.
        m2: ArcFace's angle in radians, in [0, π).
        m3: CosFace's cosine, in [0, 1).
        threshold: let the logit fall where m1·θ + m2 > π, too: by ArcFace's rule for m1 = 1,
            and by SphereFace's for any other m1 (`gfkeras.heads.margins.combined_margin`).
            With False, the formula rises again there.

    Call arguments, returns and errors are those of `MarginHead`.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.CombinedMargin(num_classes=10, m1=0.9, m2=0.4, m3=0.15)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]))
        >>> tuple(logits.shape)
        (4, 10)
    """

    def __init__(
        self,
        num_classes: int,
        scale: float | str = 64.0,
        m1: float = 1.0,
        m2: float = 0.3,
        m3: float = 0.2,
        threshold: bool = True,
        **kwargs: Any,
    ):
        super().__init__(num_classes, scale, **kwargs)
        self.m1 = positive("m1", m1)
        self.m2 = in_range("m2", m2, 0, math.pi, " radians")
        self.m3 = in_range("m3", m3, 0, 1)
        self.threshold = bool(threshold)

    @property
    def margin_at_center(self) -> float:
        return 1.0 - math.cos(self.m2) + self.m3

    def target_cosine(self, cosine: Any) -> Any:
        return combined_margin(cosine, self.m1, self.m2, self.m3, threshold=self.threshold)
