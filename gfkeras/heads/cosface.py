"""CosFace: an additive cosine margin."""

from typing import Any

from gfkeras.errors import in_range
from gfkeras.heads.margin_head import MarginHead, registered


@registered
class CosFace(MarginHead):
    """CosFace (arXiv 1801.09414, equation 4): the target's logit is s·(cos θ_y − m).

    Args:
        num_classes: N, the number of identities.
        scale: s. "auto" takes the smallest with which embeddings can reach a probability of 0.99 of
            their class: ln(99·(N − 1)) / (N/(N − 1) − m), see `cosface_scale_lower_bound`.
        margin: m in [0, 1). The paper's bound is N/(N − 1), slightly above 1, and its
            training on faces diverged above 0.45. See `cosface_margin_upper_bound`.

    Call arguments, returns and errors are those of `MarginHead`.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.CosFace(num_classes=10, margin=0.35)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]))
        >>> tuple(logits.shape)
        (4, 10)
    """

    def __init__(
        self, num_classes: int, scale: float | str = 64.0, margin: float = 0.35, **kwargs: Any
    ):
        super().__init__(num_classes, scale, **kwargs)
        self.margin = in_range("margin", margin, 0, 1)

    @property
    def margin_at_center(self) -> float:
        return self.margin

    def target_cosine(self, cosine: Any) -> Any:
        return cosine - self.margin
