"""MobileFaceNet, as in the paper and as in InsightFace."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from gfkeras.backbones.backbone import Backbone, Blocks, scaled
from gfkeras.errors import one_of, positive
from gfkeras.layers import GroupedConv2D

VARIANTS = ("paper", "insightface")

# Table 1 of arXiv 1804.07573: expansion factor t, channels c, repeats n, stride s.
PAPER_BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
# InsightFace's `mbf` defines the width of the depthwise convolution instead of t: its channels
# are twice the paper's, and that width is not.
INSIGHTFACE_BOTTLENECKS = (
    (128, 128, 1, 2), (128, 128, 4, 1), (256, 256, 1, 2), (256, 256, 6, 1),
    (512, 256, 1, 2), (256, 256, 2, 1),
)  # fmt: skip

# Channels of the first convolution, groups of the second.
STEMS = {"paper": (64, 64), "insightface": (128, 64)}


@keras.saving.register_keras_serializable("gfkeras")
class MobileFaceNet(Backbone):
    """MobileFaceNet (arXiv 1804.07573), the backbone for phones and browsers.

    The network has a 3×3 stem, inverted residual bottlenecks with PReLU, a 1×1 convolution to
    512 channels, and a linear global depthwise convolution of 7×7, which gives the feature of
    512 values. With `embedding_dim=128`, the paper's network has 1,003,136 parameters (995,584
    without the slopes of PReLU) and 221 M multiply-accumulates.

    Args:
        embedding_dim: None for the feature (B, 512), or the width of the embedding.
        variant: "paper", or "insightface" for the `mbf` of arcface_torch, a different network
            (2.06 M parameters at 512-d, 437 M multiply-accumulates).
        width: multiplies all channel counts, rounded to multiples of 8. The feature has
            max(8, 512·width) values.
        stem: channels of the first convolution, and groups of the second. As many groups as
            channels make it depthwise, and 0 leaves it out. None uses the variant's stem.
        bottlenecks: rows of (width of the depthwise convolution, channels, repeats, stride of
            the first). None uses the variant's bottlenecks. Networks derived from InsightFace's
            differ in these.
        input_shape, bn_momentum, bn_epsilon, pixel_scale, kernel_initializer: as in `Backbone`.

    Call arguments:
        images: (B, height, width, 3), uint8 or float32, 0…255.

    Returns:
        (B, 512·width) or (B, embedding_dim), float32, not normalised.

    Raises:
        ValueError: for an unknown variant, a width that is not positive, or sides that are not
            multiples of 16.

    Example:
        >>> import gfkeras, numpy as np
        >>> backbone = gfkeras.backbones.MobileFaceNet(embedding_dim=128)
        >>> tuple(backbone(np.zeros((2, 112, 112, 3), "uint8")).shape)
        (2, 128)
    """

    def __init__(
        self,
        embedding_dim: int | None = None,
        variant: str = "paper",
        width: float = 1.0,
        input_shape: tuple[int, int, int] = (112, 112, 3),
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-5,
        pixel_scale: float = 1 / 127.5,
        kernel_initializer: Any = "he_normal",
        name: str | None = None,
        stem: Sequence[int] | None = None,
        bottlenecks: Sequence[Sequence[int]] | None = None,
    ):
        one_of("variant", variant, VARIANTS)
        stem = None if stem is None else _checked_stem(stem)
        bottlenecks = None if bottlenecks is None else _checked_bottlenecks(bottlenecks)
        super().__init__(
            embedding_dim=embedding_dim,
            input_shape=input_shape,
            bn_momentum=bn_momentum,
            bn_epsilon=bn_epsilon,
            pixel_scale=pixel_scale,
            kernel_initializer=kernel_initializer,
            name=name,
            variant=variant,
            width=positive("width", width),
            stem=stem,
            bottlenecks=bottlenecks,
        )

    @staticmethod
    def build_feature(
        x: Any,
        blocks: Blocks,
        variant: str = "paper",
        width: float = 1.0,
        stem: Sequence[int] | None = None,
        bottlenecks: Sequence[Sequence[int]] | None = None,
        **_: Any,
    ) -> Any:
        unscaled, groups = stem or STEMS[variant]
        channels = scaled(unscaled, width)
        x = _conv_bn_prelu(x, blocks, channels, 3, "stem", strides=2)
        if groups == unscaled:
            x = blocks.depthwise(x, "stem_depthwise")
            x = blocks.prelu(blocks.bn(x, "stem_depthwise"), "stem_depthwise")
        elif groups:
            # InsightFace calls it "dw", but it is grouped: 64 groups of two channels.
            x = blocks.pad(x, "stem_grouped")
            x = GroupedConv2D(
                channels,
                3,
                groups=channels * groups // unscaled,
                kernel_initializer=blocks.kernel_initializer,
                name="stem_grouped_conv",
            )(x)
            x = blocks.prelu(blocks.bn(x, "stem_grouped"), "stem_grouped")
        if bottlenecks is None and variant == "paper":
            x = _paper(x, blocks, width)
        else:
            x = _stages(x, blocks, bottlenecks or INSIGHTFACE_BOTTLENECKS, width)
        x = _conv_bn_prelu(x, blocks, scaled(512, width), 1, "head")
        # A linear global depthwise convolution has one learned weight per place. Average pooling
        # would treat the corners like the center of the face.
        x = layers.DepthwiseConv2D(
            x.shape[1:3],
            use_bias=False,
            depthwise_initializer=blocks.kernel_initializer,
            name="global_conv",
        )(x)
        x = blocks.bn(x, "global")
        return layers.Flatten(name="feature")(x)


def _paper(x: Any, blocks: Blocks, width: float) -> Any:
    for stage, (t, c, n, s) in enumerate(PAPER_BOTTLENECKS, start=1):
        for index in range(n):
            strides, name = s if index == 0 else 1, f"stage{stage}_block{index + 1}"
            x = _bottleneck(x, blocks, t * x.shape[-1], scaled(c, width), strides, name)
    return x


def _stages(x: Any, blocks: Blocks, stages: Sequence[Sequence[int]], width: float) -> Any:
    """Bottlenecks defined by the width of their middle instead of an expansion factor."""
    for stage, (expanded, channels, repeats, stride) in enumerate(stages, start=1):
        sizes = scaled(expanded, width), scaled(channels, width)
        for index in range(repeats):
            strides, name = stride if index == 0 else 1, f"stage{stage}_block{index + 1}"
            x = _bottleneck(x, blocks, *sizes, strides, name)
    return x


def _checked_stem(stem: Sequence[int]) -> tuple[int, int]:
    if len(stem) != 2 or stem[0] < 1 or stem[1] < 0 or (stem[1] and stem[0] % stem[1]):
        raise ValueError(
            "`stem` must be channels and a number of groups that divides them, or 0. "
            f"Received: stem={stem}"
        )
    return int(stem[0]), int(stem[1])


def _checked_bottlenecks(bottlenecks: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    if not bottlenecks or any(len(row) != 4 or min(row) < 1 for row in bottlenecks):
        raise ValueError(
            "`bottlenecks` must be rows of (width, channels, repeats, stride), each at least 1. "
            f"Received: bottlenecks={bottlenecks}"
        )
    return tuple(tuple(int(value) for value in row) for row in bottlenecks)


def _conv_bn_prelu(
    x: Any, blocks: Blocks, filters: int, size: int, name: str, strides: int = 1
) -> Any:
    x = blocks.bn(blocks.conv(x, filters, size, name, strides), name)
    return blocks.prelu(x, name)


def _bottleneck(
    x: Any, blocks: Blocks, expanded: int, filters: int, strides: int, name: str
) -> Any:
    """An inverted residual block, with a shortcut if stride and channels allow one."""
    shortcut = x if strides == 1 and x.shape[-1] == filters else None
    x = _conv_bn_prelu(x, blocks, expanded, 1, f"{name}_expand")
    x = blocks.bn(blocks.depthwise(x, f"{name}_depthwise", strides=strides), f"{name}_depthwise")
    x = blocks.prelu(x, f"{name}_depthwise")
    x = blocks.bn(blocks.conv(x, filters, 1, f"{name}_project"), f"{name}_project")
    return x if shortcut is None else layers.Add(name=f"{name}_add")([shortcut, x])
