"""SphereFace-R: a stable form of SphereFace."""

import math
from typing import Any

from keras import ops

from gfkeras.errors import in_range
from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.layers.angular import arccos


@registered
class SphereFaceR(MarginHead):
    """SphereFace-R, version 1 with hard feature normalisation (arXiv 2109.05565).

    The target's logit is s·cos(min(m, π/θ_y)·θ_y): the angle is multiplied by m, up to π.
    Features are normalised, and nothing is annealed. The paper also detaches the margin from
    the gradient ("characteristic gradient detachment"): the value has the margin, and the
    gradient is that of s·cos θ_y. This keeps training stable where cos(mθ) is flat.

    Args:
        num_classes, scale: N, the number of identities, and s.
        margin: m, at least 1.
        detach_gradient: use the gradient of s·cos θ_y. With False, the gradient is that of the
            margin itself, which is 0 where m·θ ≥ π.

    Call arguments, returns and errors are those of `MarginHead`.

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
        scale: float | str = 30.0,
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
