"""SphereFace: a multiplicative angular margin, annealed."""

import math
from typing import Any

from keras import ops

from gfkeras.errors import in_range
from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.heads.margins import multiplicative_angular_margin, replace_target
from gfkeras.layers.angular import project
from gfkeras.layers.checks import Shape, check_embeddings


@registered
class SphereFace(MarginHead):
    """SphereFace, A-Softmax (arXiv 1704.08063): ‖x‖·(λ·cos θ_y + ψ(m·θ_y)) / (1 + λ).

    ψ(α) = (−1)^k cos α − 2k with k = ⌊α/π⌋. Centers are normalised. Features are not, so
    ‖x‖ is the scale. Training with a margin of 4 from the start does not converge. Therefore λ
    begins at `lambda_start`, where the margin has almost no effect, and falls with each step:
    λ = max(lambda_min, lambda_start / (1 + lambda_decay · iteration)).

    `SphereFaceR` is the later, stable form, with normalised features and without λ.

    Args:
        num_classes: N, the number of identities.
        margin: m, at least 1. The paper uses integers up to 4.
        lambda_start: λ at the first step.
        lambda_decay: how fast λ falls.
        lambda_min: the smallest λ. 0 gives the bare margin.

    Attributes:
        iteration: the number of calls with labels and training=True so far, a variable that
            is saved and restored. A call uses λ of the calls before it.

    Call arguments, returns and errors are those of `MarginHead`, with ‖x‖ instead of s.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.SphereFace(num_classes=10)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]), training=True)
        >>> float(head.iteration)
        1.0
    """

    normalizes = False

    def __init__(
        self,
        num_classes: int,
        margin: float = 4.0,
        lambda_start: float = 1000.0,
        lambda_decay: float = 0.12,
        lambda_min: float = 5.0,
        **kwargs: Any,
    ):
        super().__init__(num_classes, scale=1.0, **kwargs)
        self.margin = in_range("margin", margin, 1, math.inf)
        self.lambda_start = in_range("lambda_start", lambda_start, 0, math.inf)
        self.lambda_decay = in_range("lambda_decay", lambda_decay, 0, math.inf)
        self.lambda_min = in_range("lambda_min", lambda_min, 0, math.inf)

    def build(self, embedding_shape: Shape, labels_shape: Any = None) -> None:
        super().build(embedding_shape, labels_shape)
        # Integer variables do not work on every device. A float32 counts exactly up to 16
        # million steps, and λ reaches its minimum long before.
        self.iteration = self.add_state("iteration", 0.0)

    def annealing(self) -> Any:
        """Returns λ of the next step, a scalar float32."""
        falling = self.lambda_start / (1.0 + self.lambda_decay * self.iteration)
        return ops.maximum(falling, self.lambda_min)

    def logits(self, embedding: Any, centers: Any = None) -> Any:
        """Returns ‖x‖·cos θ_j, (B, N) float32."""
        return project(check_embeddings(embedding), self.centers if centers is None else centers)

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        norm = self.norms(embedding)
        annealing = self.annealing()
        if training:
            self.iteration.assign(self.iteration + 1.0)

        def margin(target: Any) -> Any:
            cosine = ops.clip(target / norm, -1.0, 1.0)
            psi = multiplicative_angular_margin(cosine, self.margin)
            return norm * (annealing * cosine + psi) / (1.0 + annealing)

        return replace_target(logits, labels, margin)
