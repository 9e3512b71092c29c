"""SphereFace-R: SphereFace made stable."""

import math
from typing import Any

from keras import ops

from gfkeras.errors import in_range
from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.layers.angular import arccos


@registered
class SphereFaceR(MarginHead):
    """SphereFace-R, v1 with hard feature normalisation (arXiv 2109.05565).

    The target's logit is s·cos(min(m, π/θ_y)·θ_y): the angle times m, but no further
    than π. Features are normalised, and nothing is annealed. The paper also detaches the
    margin from the gradient ("characteristic gradient detachment"): the value is that
    of the margin, the gradient that of s·cos θ_y, which is what makes it stable where
    cos(mθ) is flat.

    Args:
        num_classes, scale: N, the number of identities, and s.
        margin: m, at least 1.
        detach_gradient: take the gradient of s·cos θ_y; False that of the margin itself,
            which is 0 where m·θ ≥ π.

    Call arguments, returns and errors: as of `MarginHead`.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.SphereFaceR(num_classes=10)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]))
        >>> tuple(logits.shape)
        (4, 10)
    """

    def __init__(
        self,
        num_classes: int,
        scale: float = 30.0,
        margin: float = 1.5,
        detach_gradient: bool = True,
        **kwargs: Any,
    ):
        super().__init__(num_classes, scale, **kwargs)
        self.margin = in_range("margin", margin, 1, float("inf"))
        self.detach_gradient = bool(detach_gradient)

    def target_cosine(self, cosine: Any) -> Any:
        with_margin = ops.cos(ops.minimum(self.margin * arccos(cosine), math.pi))
        if self.detach_gradient:
            return cosine + ops.stop_gradient(with_margin - cosine)
        return with_margin
