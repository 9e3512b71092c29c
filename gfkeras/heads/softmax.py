"""Plain softmax: a linear classifier without normalisation or margin."""

from typing import Any

from keras import ops

from gfkeras.heads.margin_head import MarginHead, registered
from gfkeras.layers.checks import Shape, check_embeddings
from gfkeras.layers.rows import DrawnRows


@registered
class Softmax(MarginHead):
    """Plain softmax: every logit is W_j·x + b_j, that is ‖W_j‖·‖x‖·cos θ_j + b_j.

    Papers on margins begin with it (arXiv 1801.07698, equation 1). Neither embeddings nor weights
    are normalised, so the norms can separate classes too, and angles are smaller than with
    `NormSoftmax`.

    Args:
        num_classes: N, the number of identities.
        use_bias: whether the logits have biases b_j. Without them, a class is chosen by norms and
            angles alone.

    Attributes:
        centers: W, (N, D).
        bias: b, (N,), or None. It starts at 0.

    Call arguments, returns and errors are those of `MarginHead`.

    Example:
        >>> import gfkeras, numpy as np
        >>> head = gfkeras.heads.Softmax(num_classes=10)
        >>> logits = head(np.ones((4, 512), "float32"), np.array([0, 3, 9, 3]))
        >>> tuple(logits.shape)
        (4, 10)
    """

    normalizes = False

    def __init__(self, num_classes: int, use_bias: bool = True, **kwargs: Any):
        super().__init__(num_classes, scale=1.0, **kwargs)
        self.use_bias = bool(use_bias)
        self.bias: Any = None

    def build(self, embedding_shape: Shape, labels_shape: Any = None) -> None:
        super().build(embedding_shape, labels_shape)
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.num_classes,), initializer="zeros", dtype="float32"
            )

    def logits(self, embedding: Any, centers: Any = None) -> Any:
        """Returns W_j·x + b_j, (B, N) float32."""
        bias, weights = self.bias, self.centers if centers is None else centers
        if isinstance(weights, DrawnRows):
            # All biases are an ordinary variable of N numbers, so its gradient can be whole.
            bias = None if bias is None else ops.take(bias, weights.index, axis=0)
            weights = weights.as_array()
        logits = ops.matmul(check_embeddings(embedding), ops.transpose(weights))
        return logits if bias is None else logits + bias

    def with_margin(self, logits: Any, labels: Any, embedding: Any, training: bool | None) -> Any:
        return logits
