"""AdaFace: a margin that depends on image quality."""

import math
from typing import Any

from keras import ops

from gfkeras.errors import in_range, positive
from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.heads.margins import replace_target
from gfkeras.layers.angular import arccos
from gfkeras.layers.checks import Shape
from gfkeras.layers.replica import global_batch

# Bounds of the norms, and the epsilon added to their deviation, as in AdaFace's public code.
MIN_NORM, MAX_NORM = 1e-3, 100.0
EPSILON = 1e-3


@registered
class AdaFace(MarginHead):
    """AdaFace (arXiv 2204.00964): s·(cos(θ_y + g_angle) − g_add), a margin that follows the norm.

    g_angle = −m·ẑ and g_add = m·ẑ + m (equations 17 to 20). The image quality is
    ẑ = clip((‖x‖ − μ) / (σ / h), −1, 1), and μ and σ are moving averages of the norms' mean
    and standard deviation. At low quality the margin is ArcFace's, at average quality CosFace's.
    At high quality it is a negative angular margin with twice the additive one. No gradient
    flows through ẑ, and θ_y + g_angle stays in [0, π].

    Args:
        num_classes, scale: N, the number of identities, and s.
        margin: m, in [0, 1).
        concentration: h, which scales ẑ: about 68 % of normally distributed norms give
            −h < ẑ < h.
        momentum: momentum of μ and σ: μ ← momentum·μ + (1 − momentum)·batch mean. The batch
            is that of all replicas, and the averages move before they are used. The standard
            deviation is the unbiased one, and 0 for a batch of one.

    Attributes:
        norm_mean: μ, which starts at 20, as in the public code.
        norm_std: σ, which starts at 100. Both move only in training with labels.

    Call arguments, returns and errors are those of `MarginHead`. Do not normalise the
    embedding before this head, because its norm carries the image quality.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.AdaFace(num_classes=10)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]), training=True)
        >>> round(float(head.norm_mean), 3)  # 0.99 · 20 + 0.01 · √512
        20.026
    """

    def __init__(
        self,
        num_classes: int,
        scale: float | str = 64.0,
        margin: float = 0.4,
        concentration: float = 0.333,
        momentum: float = 0.99,
        **kwargs: Any,
    ):
        super().__init__(num_classes, scale, **kwargs)
        self.margin = in_range("margin", margin, 0, 1)
        self.concentration = positive("concentration", concentration)
        self.momentum = in_range("momentum", momentum, 0, 1)

    @property
    def margin_at_center(self) -> float:
        # That of an embedding with the mean norm.
        return self.margin

    def build(self, embedding_shape: Shape, labels_shape: Any = None) -> None:
        super().build(embedding_shape, labels_shape)
        self.norm_mean = self.add_state("norm_mean", 20.0)
        self.norm_std = self.add_state("norm_std", 100.0)

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        quality = self.quality(embedding, training)

        def margin(target: Any) -> Any:
            angle = arccos(target / self.scale) - self.margin * quality
            cosine = ops.cos(ops.clip(angle, 0.0, math.pi))
            return self.scale * (cosine - self.margin * (1.0 + quality))

        return replace_target(logits, labels, margin)

    def quality(self, embedding: Any, training: bool | None = None) -> Any:
        """Returns ẑ in [−1, 1] for each embedding (B, D): (B, 1) float32, without a gradient.

        In training, the batch moves μ and σ first.
        """
        norm = ops.stop_gradient(ops.clip(self.norms(embedding), MIN_NORM, MAX_NORM))
        mean, std = ops.convert_to_tensor(self.norm_mean), ops.convert_to_tensor(self.norm_std)
        if training:
            batch = global_batch(norm)
            count = ops.cast(ops.shape(batch)[0], "float32")
            batch_mean = ops.mean(batch)
            squares = ops.sum(ops.square(batch - batch_mean))
            batch_std = ops.sqrt(squares / ops.maximum(count - 1.0, 1.0))
            mean = self.momentum * mean + (1 - self.momentum) * batch_mean
            std = self.momentum * std + (1 - self.momentum) * batch_std
            self.norm_mean.assign(mean)
            self.norm_std.assign(std)
        return ops.clip((norm - mean) / (std + EPSILON) * self.concentration, -1.0, 1.0)
