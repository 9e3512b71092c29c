"""L2 pooling and local response normalisation, which FaceNet's first networks need."""

from typing import Any

import keras
from keras import ops

from gfkeras.errors import positive_int
from gfkeras.saving import Configured

# √x has no derivative at 0, and a window of zeros is common after ReLU.
SMALLEST = 1e-12


class _SameShape(Configured, keras.layers.Layer):
    """A layer that computes in float32, because squares soon overflow in float16."""

    def call(self, inputs: Any) -> Any:
        return ops.cast(self.result(ops.cast(inputs, "float32")), self.compute_dtype)

    def result(self, x: Any) -> Any:
        raise NotImplementedError

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


@keras.saving.register_keras_serializable("gfkeras")
class L2Pooling2D(_SameShape):
    """√(Σ x²) over each window of `pool_size`×`pool_size` pixels and each channel.

    FaceNet (arXiv 1503.03832) replaces most maxima of its Inception networks by this norm. The
    stride is 1, and zeros around the image keep its size.

    Args:
        pool_size: side of the window, an odd number.

    Call arguments:
        inputs: (B, H, W, C).

    Returns:
        (B, H, W, C) in the layer's compute dtype. The arithmetic is float32.

    Example:
        >>> import gfkeras, numpy as np
        >>> layer = gfkeras.layers.L2Pooling2D()
        >>> float(layer(np.ones((1, 3, 3, 1)))[0, 1, 1, 0])
        3.0
    """

    def __init__(self, pool_size: int = 3, **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = positive_int("pool_size", pool_size)
        if pool_size % 2 == 0:
            raise ValueError(f"`pool_size` must be odd. Received: pool_size={pool_size}")

    def result(self, x: Any) -> Any:
        size, edge = self.pool_size, self.pool_size // 2
        # "same" pooling would leave the zeros out of the mean, and the edges would be larger.
        squares = ops.pad(x * x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        mean = ops.average_pool(squares, size, strides=1, padding="valid")
        return ops.sqrt(ops.maximum(size * size * mean, SMALLEST))


@keras.saving.register_keras_serializable("gfkeras")
class LocalResponseNormalization(_SameShape):
    """x / (bias + alpha/depth · Σ x²)^¾, with the sum over `depth` neighbouring channels.

    The formula and the defaults are those of Caffe's GoogLeNet. Keras has no such layer, and the
    one of TensorFlow does not run on JAX.

    Args:
        depth: number of channels in the sum, centered on each channel. Past the first and the last
            channel there are zeros.
        alpha, bias: constants of the formula.

    Call arguments:
        inputs: (B, H, W, C).

    Returns:
        (B, H, W, C) in the layer's compute dtype. The arithmetic is float32.

    Example:
        >>> import gfkeras, numpy as np
        >>> layer = gfkeras.layers.LocalResponseNormalization(depth=1, alpha=15.0)
        >>> float(layer(np.ones((1, 1, 1, 1)))[0, 0, 0, 0])
        0.125
    """

    def __init__(self, depth: int = 5, alpha: float = 1e-4, bias: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.depth = positive_int("depth", depth)
        if depth % 2 == 0 or alpha < 0 or not bias > 0:
            raise ValueError(
                "`depth` must be odd, `alpha` at least 0 and `bias` positive. "
                f"Received: depth={depth}, alpha={alpha}, bias={bias}"
            )
        self.alpha, self.bias = float(alpha), float(bias)

    def result(self, x: Any) -> Any:
        channels, edge = x.shape[-1], self.depth // 2
        squares = ops.pad(x * x, ((0, 0), (0, 0), (0, 0), (edge, edge)))
        total = sum(squares[..., start : start + channels] for start in range(self.depth))
        # Two roots run in every runtime's fast kernels, and a power does not.
        inverse_root = ops.rsqrt(self.bias + self.alpha / self.depth * total)
        return x * inverse_root * ops.sqrt(inverse_root)
