"""SphereFace's residual networks of 4, 10, 20, 36 and 64 layers."""

from typing import Any

import keras
from keras import layers

from gfkeras.backbones.backbone import Backbone, Blocks, scaled
from gfkeras.errors import positive

CHANNELS = (64, 128, 256, 512)


class SphereFaceNet(Backbone):
    """A residual network of SphereFace (arXiv 1704.08063, table 2), also CosFace's with 64 layers.

    Each of four stages begins with a 3×3 convolution of stride 2, and residual units of two 3×3
    convolutions follow. Each convolution has a PReLU, and nothing is normalised. As in the
    authors' Caffe definition, a convolution of stride 2 has a bias, is padded by 1 on all sides,
    and starts from Caffe's "xavier". The others have no bias and start from a standard deviation of
    0.01. Subclasses define the number of units per stage.

    Args:
        embedding_dim: None for the feature (B, H/16·W/16·512), or the width of the embedding, 512
            in the paper. The embedding FC has a bias and no batch normalisation.
        width: multiplies all channel counts, rounded to multiples of 8.
        input_shape: (height, width, 3), its sides multiples of 16. The paper's faces have 112×96
            pixels.
        pixel_scale: as in `Backbone`. The authors use 1/128.
        kernel_initializer: initializer of the convolutions of stride 2.

    Call arguments:
        images: (B, height, width, 3), uint8 or float32, 0…255.

    Returns:
        (B, H/16·W/16·512) or (B, embedding_dim), float32, not normalised.

    Raises:
        ValueError: for a width that is not positive, or sides that are not multiples of 16.
    """

    units: tuple[int, int, int, int]

    def __init__(
        self,
        embedding_dim: int | None = None,
        width: float = 1.0,
        input_shape: tuple[int, int, int] = (112, 96, 3),
        pixel_scale: float = 1 / 128,
        kernel_initializer: Any = "lecun_uniform",
        name: str | None = None,
    ):
        super().__init__(
            embedding_dim=embedding_dim,
            input_shape=input_shape,
            pixel_scale=pixel_scale,
            kernel_initializer=kernel_initializer,
            name=name,
            width=positive("width", width),
        )

    @classmethod
    def build_feature(cls, x: Any, blocks: Blocks, width: float = 1.0, **_: Any) -> Any:
        for stage, (units, unscaled) in enumerate(zip(cls.units, CHANNELS, strict=True), start=1):
            channels = scaled(unscaled, width)
            x = blocks.conv(x, channels, 3, f"stage{stage}_1", strides=2, use_bias=True)
            x = blocks.prelu(x, f"stage{stage}_1")
            for unit in range(units):
                shortcut = x
                for name in (f"stage{stage}_{2 * unit + 2}", f"stage{stage}_{2 * unit + 3}"):
                    small = keras.initializers.RandomNormal(stddev=0.01)
                    x = blocks.conv(x, channels, 3, name, kernel_initializer=small)
                    x = blocks.prelu(x, name)
                x = layers.Add(name=f"{name}_add")([shortcut, x])
        return layers.Flatten(name="feature")(x)


@keras.saving.register_keras_serializable("gfkeras")
class SphereFaceNet4(SphereFaceNet):
    """12.56 M parameters and 0.16 G multiply-accumulates at 112×96, with a 512 FC."""

    units = (0, 0, 0, 0)


@keras.saving.register_keras_serializable("gfkeras")
class SphereFaceNet10(SphereFaceNet):
    """15.22 M parameters and 0.76 G multiply-accumulates at 112×96, with a 512 FC."""

    units = (0, 1, 2, 0)


@keras.saving.register_keras_serializable("gfkeras")
class SphereFaceNet20(SphereFaceNet):
    """22.67 M parameters and 1.75 G multiply-accumulates at 112×96, with a 512 FC."""

    units = (1, 2, 4, 1)


@keras.saving.register_keras_serializable("gfkeras")
class SphereFaceNet36(SphereFaceNet):
    """32.77 M parameters and 3.34 G multiply-accumulates at 112×96, with a 512 FC."""

    units = (2, 4, 8, 2)


@keras.saving.register_keras_serializable("gfkeras")
class SphereFaceNet64(SphereFaceNet):
    """48.19 M parameters and 6.11 G multiply-accumulates at 112×96, with a 512 FC."""

    units = (3, 8, 16, 3)
