"""ArcFace's improved residual networks: IResNet-18, -34, -50 and -100."""

from typing import Any

import keras
from keras import layers

from gfkeras.backbones.backbone import Backbone, Blocks
from gfkeras.errors import in_range

WIDTHS = (64, 128, 256, 512)


class IResNet(Backbone):
    """IResNet as InsightFace builds it (ArcFace, arXiv 1801.07698, "LResNet-E-IR").

    The network has a 3×3 stem with stride 1 and without pooling, four stages that each start
    with stride 2 (112 → 7), and BN-Dropout-Flatten at the end. Blocks are
    BN-conv3×3-BN-PReLU-conv3×3-BN, with nothing after the addition. The feature has
    512·7·7 = 25,088 values. Subclasses define the number of blocks in each stage.

    Args:
        embedding_dim: None for the feature (B, 25088), or the width of the embedding.
        dropout: rate of the dropout before the embedding FC.
        input_shape, bn_momentum, bn_epsilon, pixel_scale, kernel_initializer: as in `Backbone`.

    Call arguments:
        images: (B, height, width, 3), uint8 or float32, 0…255.

    Returns:
        (B, 25088) or (B, embedding_dim), float32, not normalised.

    Raises:
        ValueError: for a dropout outside [0, 1), or sides that are not multiples of 16.
    """

    units: tuple[int, int, int, int]

    def __init__(
        self,
        embedding_dim: int | None = None,
        dropout: float = 0.0,
        input_shape: tuple[int, int, int] = (112, 112, 3),
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-5,
        pixel_scale: float = 1 / 127.5,
        kernel_initializer: Any = "he_normal",
        name: str | None = None,
    ):
        super().__init__(
            embedding_dim=embedding_dim,
            input_shape=input_shape,
            bn_momentum=bn_momentum,
            bn_epsilon=bn_epsilon,
            pixel_scale=pixel_scale,
            kernel_initializer=kernel_initializer,
            name=name,
            dropout=in_range("dropout", dropout, 0, 1),
        )

    @classmethod
    def build_feature(cls, x: Any, blocks: Blocks, dropout: float = 0.0, **_: Any) -> Any:
        x = blocks.bn(blocks.conv(x, 64, 3, "stem"), "stem")
        x = blocks.prelu(x, "stem")
        for stage, (units, width) in enumerate(zip(cls.units, WIDTHS, strict=True), start=1):
            for unit in range(units):
                strides = 2 if unit == 0 else 1
                x = _block(x, blocks, width, strides, f"stage{stage}_block{unit + 1}")
        x = blocks.bn(x, "trunk")
        x = layers.Dropout(dropout, name="dropout")(x)
        # PyTorch and MXNet flatten channels first, so importers permute the FC's rows.
        return layers.Flatten(name="feature")(x)


def _block(x: Any, blocks: Blocks, width: int, strides: int, name: str) -> Any:
    shortcut = x
    if strides != 1 or x.shape[-1] != width:
        shortcut = blocks.conv(x, width, 1, f"{name}_shortcut", strides=strides)
        shortcut = blocks.bn(shortcut, f"{name}_shortcut")
    x = blocks.bn(x, f"{name}_input")
    x = blocks.bn(blocks.conv(x, width, 3, f"{name}_a"), f"{name}_a")
    x = blocks.prelu(x, f"{name}_a")
    x = blocks.bn(blocks.conv(x, width, 3, f"{name}_b", strides=strides), f"{name}_b")
    return layers.Add(name=f"{name}_add")([shortcut, x])


@keras.saving.register_keras_serializable("gfkeras")
class IResNet18(IResNet):
    """24.03 M parameters and 2.61 G multiply-accumulates with a 512 FC."""

    units = (2, 2, 2, 2)


@keras.saving.register_keras_serializable("gfkeras")
class IResNet34(IResNet):
    """34.14 M parameters and 4.46 G multiply-accumulates with a 512 FC."""

    units = (3, 4, 6, 3)


@keras.saving.register_keras_serializable("gfkeras")
class IResNet50(IResNet):
    """43.59 M parameters and 6.31 G multiply-accumulates with a 512 FC."""

    units = (3, 4, 14, 3)


@keras.saving.register_keras_serializable("gfkeras")
class IResNet100(IResNet):
    """65.16 M parameters and 12.09 G multiply-accumulates with a 512 FC."""

    units = (3, 13, 30, 3)


for _cls in (IResNet18, IResNet34, IResNet50, IResNet100):
    _cls.__doc__ = f"{_cls.__doc__}\n\n{IResNet.__doc__}"
