"""NormSoftmax: normalised softmax without a margin."""

from typing import Any

from gfkeras.heads.margin_head import MarginHead, registered


@registered
class NormSoftmax(MarginHead):
    """Normalised softmax (NormFace, arXiv 1704.06369): every logit is s·cos θ_j.

    This is the baseline for heads with a margin.

    Args:
        num_classes, scale: N, the number of identities, and s.

    Call arguments, returns and errors are those of `MarginHead`.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.NormSoftmax(num_classes=10, scale=16.0)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]))
        >>> tuple(logits.shape)
        (4, 10)
    """

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        return logits
