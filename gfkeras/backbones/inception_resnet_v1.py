"""Inception-ResNet-v1, the network of the public FaceNet weights."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from gfkeras.backbones.backbone import Backbone, Blocks, scaled
from gfkeras.errors import in_range, positive

# Kind of residual block: scale of the residual, channels of each convolution, and the sizes of each
# branch's convolutions.
BLOCKS: dict[str, tuple[float, int, tuple[tuple[Any, ...], ...]]] = {
    "repeat_1": (0.17, 32, ((1,), (1, 3), (1, 3, 3))),
    "repeat_2": (0.10, 128, ((1,), (1, (1, 7), (7, 1)))),
    "repeat_3": (0.20, 192, ((1,), (1, (1, 3), (3, 1)))),
}
# Convolutions of each branch beside the maximum, as (channels, size). The last one has stride 2.
REDUCTIONS: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {
    "mixed_6a": (((384, 3),), ((192, 1), (192, 3), (256, 3))),
    "mixed_7a": (
        ((256, 1), (384, 3)), ((256, 1), (256, 3)), ((256, 1), (256, 3), (256, 3)),
    ),
}  # fmt: skip


@keras.saving.register_keras_serializable("gfkeras")
class InceptionResNetV1(Backbone):
    """Inception-ResNet-v1 (arXiv 1602.07261) as in davidsandberg/facenet and facenet-pytorch.

    The network has 23,482,624 trainable parameters with a 512 FC, and 1.42 G multiply-accumulates
    at 160×160. Layers have the names of facenet-pytorch's state dict, with "_" for ".". As there,
    strides of 2 and the stem have no padding, and all other convolutions keep the size, so no
    padding is asymmetric.

    Args:
        embedding_dim: None for the feature (B, 1792), or the width of the embedding.
        dropout: rate of the dropout before the embedding FC.
        repeats: number of residual blocks of the three kinds. One more block without ReLU follows.
        width: multiplies all channel counts, rounded to multiples of 8.
        input_shape: (height, width, 3), each side at least 75 pixels.
        bn_momentum, bn_epsilon, pixel_scale, kernel_initializer: as in `Backbone`. The defaults are
            those of facenet, whose weights expect (x − 127.5)/128.

    Call arguments:
        images: (B, height, width, 3), uint8 or float32, 0…255.

    Returns:
        (B, 1792·width) or (B, embedding_dim), float32, not normalised.

    Raises:
        ValueError: for a dropout outside [0, 1), a width that is not positive, repeats that are not
            three numbers, or smaller sides.
    """

    smallest_side, side_multiple = 75, 1

    def __init__(
        self,
        embedding_dim: int | None = None,
        dropout: float = 0.0,
        repeats: Sequence[int] = (5, 10, 5),
        width: float = 1.0,
        input_shape: tuple[int, int, int] = (160, 160, 3),
        bn_momentum: float = 0.995,
        bn_epsilon: float = 1e-3,
        pixel_scale: float = 1 / 128,
        kernel_initializer: Any = "he_normal",
        name: str | None = None,
    ):
        counts = list(repeats) if isinstance(repeats, (list, tuple)) else []
        if len(counts) != 3 or any(not isinstance(count, int) or count < 0 for count in counts):
            raise ValueError(f"`repeats` must be three counts. Received: repeats={repeats!r}")
        super().__init__(
            embedding_dim=embedding_dim,
            input_shape=input_shape,
            bn_momentum=bn_momentum,
            bn_epsilon=bn_epsilon,
            pixel_scale=pixel_scale,
            kernel_initializer=kernel_initializer,
            name=name,
            dropout=in_range("dropout", dropout, 0, 1),
            repeats=tuple(counts),
            width=positive("width", width),
        )

    @staticmethod
    def build_feature(
        x: Any,
        blocks: Blocks,
        dropout: float = 0.0,
        repeats: Sequence[int] = (5, 10, 5),
        width: float = 1.0,
        **_: Any,
    ) -> Any:
        def conv(
            x: Any, channels: int, size: Any, name: str, strides: int = 1, padded: bool = True
        ) -> Any:
            padded = padded and strides == 1
            x = blocks.conv(x, scaled(channels, width), size, name, strides, padded=padded)
            return blocks.relu(blocks.bn(x, name), name)

        def branch(x: Any, convolutions: Sequence[Any], name: str, strides: int = 1) -> Any:
            for index, (channels, size) in enumerate(convolutions):
                last = index == len(convolutions) - 1
                # A branch of a single convolution is not a sequence in the state dict.
                place = name if len(convolutions) == 1 else f"{name}_{index}"
                x = conv(x, channels, size, place, strides if last else 1)
            return x

        def residual(x: Any, kind: str, name: str, relu: bool = True) -> Any:
            scale, channels, branches = BLOCKS[kind]
            y = layers.Concatenate(name=f"{name}_concat")([
                branch(x, [(channels, size) for size in sizes], f"{name}_branch{number}")
                for number, sizes in enumerate(branches)
            ])  # fmt: skip
            y = blocks.conv(y, x.shape[-1], 1, f"{name}_conv2d", use_bias=True)
            y = layers.Rescaling(scale, name=f"{name}_scale")(y)
            x = layers.Add(name=f"{name}_add")([x, y])
            return blocks.relu(x, name) if relu else x

        def reduction(x: Any, name: str) -> Any:
            results = [
                branch(x, convolutions, f"{name}_branch{number}", strides=2)
                for number, convolutions in enumerate(REDUCTIONS[name])
            ]
            pooled = layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)
            return layers.Concatenate(name=name)([*results, pooled])

        x = conv(x, 32, 3, "conv2d_1a", strides=2)
        x = conv(x, 32, 3, "conv2d_2a", padded=False)
        x = conv(x, 64, 3, "conv2d_2b")
        x = layers.MaxPooling2D(3, 2, name="maxpool_3a")(x)
        x = conv(x, 80, 1, "conv2d_3b")
        x = conv(x, 192, 3, "conv2d_4a", padded=False)
        x = conv(x, 256, 3, "conv2d_4b", strides=2)
        for kind, count, behind in zip(BLOCKS, repeats, (*REDUCTIONS, None), strict=True):
            for number in range(count):
                x = residual(x, kind, f"{kind}_{number}")
            if behind is not None:
                x = reduction(x, behind)
        x = residual(x, "repeat_3", "block8", relu=False)
        x = layers.GlobalAveragePooling2D(name="feature")(x)
        return layers.Dropout(dropout, name="dropout")(x)
