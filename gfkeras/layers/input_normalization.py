"""The first layer of every model, which normalises pixels."""

from typing import Any

import keras
from keras import ops

from gfkeras.errors import positive
from gfkeras.saving import Configured


@keras.saving.register_keras_serializable("gfkeras")
class InputNormalization(Configured, keras.layers.Layer):
    """Maps pixels of 0…255 to (x − mean)·scale, as the field's networks expect.

    Every model and every exported artefact contains it. Preprocessing that is left to the
    caller is the usual reason why an exported face network loses accuracy.

    Args:
        mean: subtracted from each pixel.
        scale: multiplies the difference. 1/127.5 maps to [−1, 1]. InsightFace's MXNet networks
            use 1/128.

    Call arguments:
        images: (B, H, W, C), uint8 or float, 0…255.

    Returns:
        (B, H, W, C) in the layer's compute dtype. The arithmetic is float32.

    Example:
        >>> import gfkeras, numpy as np
        >>> layer = gfkeras.layers.InputNormalization()
        >>> float(layer(np.full((1, 2, 2, 3), 255, "uint8"))[0, 0, 0, 0])
        1.0
    """

    def __init__(self, mean: float = 127.5, scale: float = 1 / 127.5, **kwargs: Any):
        # No autocast: pixels 0…255 with fractions do not fit into bfloat16's 8 bits.
        super().__init__(autocast=False, **kwargs)
        self.mean = float(mean)
        self.scale = positive("scale", scale)

    def call(self, images: Any) -> Any:
        images = ops.cast(images, "float32")
        return ops.cast((images - self.mean) * self.scale, self.compute_dtype)

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)
