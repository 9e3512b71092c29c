"""CurricularFace: ArcFace with more weight on hard negatives as training proceeds."""

import math
from typing import Any

from keras import ops

from gfkeras.errors import in_range
from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.heads.margins import additive_angular_margin, target_of
from gfkeras.layers.checks import Shape
from gfkeras.layers.replica import global_mean


@registered
class CurricularFace(MarginHead):
    """CurricularFace (arXiv 2004.00288): hard negatives weigh t + cos θ_j.

    The target's logit is ArcFace's. A negative is hard if cos θ_j > cos(θ_y + m). Its logit
    becomes s·cos θ_j·(t + cos θ_j). The factor t is a moving average of the targets' cosines
    (equation 12). It starts near 0, so hard negatives count little, and rises as the network
    learns.

    Args:
        num_classes, scale: N, the number of identities, and s.
        margin: m in radians, in [0, π).
        momentum: momentum of t: t ← momentum·t + (1 − momentum)·mean cos θ_y, over the batch
            of all replicas, before t is used.
        threshold: the rule for the target's logit beyond π, as in `ArcFace`.

    Attributes:
        t: the moving average, a variable that moves only in training with labels.

    Call arguments, returns and errors are those of `MarginHead`.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.CurricularFace(num_classes=10)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]), training=True)
        >>> -1 < float(head.t) < 1
        True
    """

    def __init__(
        self,
        num_classes: int,
        scale: float | str = 64.0,
        margin: float = 0.5,
        momentum: float = 0.99,
        threshold: bool = True,
        **kwargs: Any,
    ):
        super().__init__(num_classes, scale, **kwargs)
        self.margin = in_range("margin", margin, 0, math.pi, " radians")
        self.momentum = in_range("momentum", momentum, 0, 1)
        self.threshold = bool(threshold)

    @property
    def margin_at_center(self) -> float:
        return 1.0 - math.cos(self.margin)

    def build(self, embedding_shape: Shape, labels_shape: Any = None) -> None:
        super().build(embedding_shape, labels_shape)
        self.t = self.add_state("t", 0.0)

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        replaced = super().with_margin(logits, labels, embedding, training)
        cosine = ops.clip(ops.stop_gradient(target_of(logits, labels) / self.scale), -1.0, 1.0)
        t = ops.convert_to_tensor(self.t)
        if training:
            t = self.momentum * t + (1 - self.momentum) * global_mean(cosine[:, 0])
            self.t.assign(t)
        # The paper compares with the bare cos(θ_y + m), without the rule beyond π.
        bound = self.scale * additive_angular_margin(cosine, self.margin, threshold=False)
        # `replaced` holds the target's new logit, and the target is never a negative.
        is_negative = labels[:, None] != ops.arange(logits.shape[1], dtype=labels.dtype)
        hard = ops.logical_and(replaced > bound, is_negative)
        return ops.where(hard, replaced * (t + replaced / self.scale), replaced)

    def target_cosine(self, cosine: Any) -> Any:
        return additive_angular_margin(cosine, self.margin, threshold=self.threshold)
