"""FaceNet's networks: NN1 by Zeiler and Fergus with 1×1 convolutions, and the Inception ones."""

from typing import Any, NamedTuple

import keras
from keras import layers

from gfkeras.backbones.backbone import Backbone, Blocks, scaled
from gfkeras.errors import positive
from gfkeras.layers import L2Pooling2D, LocalResponseNormalization


class Module(NamedTuple):
    """One Inception module, a row of table 2. A count of 0 leaves the branch out.

    With `strides` 2, the pooled input is not projected. `pool` is "max" or "l2".
    """

    single: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool: str
    projection: int
    strides: int = 1


MODULES = {
    "3a": Module(64, 96, 128, 16, 32, "max", 32),
    "3b": Module(64, 96, 128, 32, 64, "l2", 64),
    "3c": Module(0, 128, 256, 32, 64, "max", 0, 2),
    "4a": Module(256, 96, 192, 32, 64, "l2", 128),
    "4b": Module(224, 112, 224, 32, 64, "l2", 128),
    "4c": Module(192, 128, 256, 32, 64, "l2", 128),
    "4d": Module(160, 144, 288, 32, 64, "l2", 128),
    "4e": Module(0, 160, 256, 64, 128, "max", 0, 2),
    "5a": Module(384, 192, 384, 48, 128, "l2", 128),
    "5b": Module(384, 192, 384, 48, 128, "max", 128),
}


class FaceNet(Backbone):
    """A network of FaceNet (arXiv 1503.03832).

    Convolutions have biases and ReLU, and nothing but the paper's local response normalisation.
    The paper does not give its constants, so they are those of Caffe's GoogLeNet. Strides pad all
    sides alike, as in Caffe and OpenFace. The paper's table has the same sizes either way.

    Args:
        embedding_dim: None for the feature (B, F), or the width of the embedding, 128 in the paper.
            The embedding FC has a bias and no batch normalisation.
        width: multiplies all channel counts of the network.
        input_shape: (height, width, 3) of any sides from 16 pixels. None is the paper's size.
        pixel_scale, kernel_initializer: as in `Backbone`.

    Call arguments:
        images: (B, height, width, 3), uint8 or float32, 0…255.

    Returns:
        (B, F) or (B, embedding_dim), float32, not normalised.

    Raises:
        ValueError: for a width that is not positive, or smaller sides.
    """

    side_multiple = 1
    paper_size = (224, 224)
    # The architecture's own factor of the channels, which NNS1 and NNS2 need.
    channels_factor = 1.0

    def __init__(
        self,
        embedding_dim: int | None = None,
        width: float = 1.0,
        input_shape: tuple[int, int, int] | None = None,
        pixel_scale: float = 1 / 127.5,
        kernel_initializer: Any = "he_normal",
        name: str | None = None,
    ):
        super().__init__(
            embedding_dim=embedding_dim,
            input_shape=(*self.paper_size, 3) if input_shape is None else input_shape,
            pixel_scale=pixel_scale,
            kernel_initializer=kernel_initializer,
            name=name,
            width=positive("width", width),
        )

    @classmethod
    def scaled(cls, channels: int, width: float) -> int:
        return scaled(channels, width * cls.channels_factor, multiple=1)


def _conv(x: Any, blocks: Blocks, filters: int, size: int, name: str, strides: int = 1) -> Any:
    return blocks.relu(blocks.conv(x, filters, size, name, strides, use_bias=True), name)


def _max_pool(x: Any, blocks: Blocks, name: str) -> Any:
    # Behind ReLU, zeros around the image change no maximum.
    return layers.MaxPooling2D(3, 2, name=f"{name}_pool")(blocks.pad(x, name))


@keras.saving.register_keras_serializable("gfkeras")
class FaceNetNN1(FaceNet):
    """140 M parameters and 1.6 G multiply-accumulates at 220×220, with a 128 FC."""

    paper_size = (220, 220)

    @classmethod
    def build_feature(cls, x: Any, blocks: Blocks, width: float = 1.0, **_: Any) -> Any:
        def pair(x: Any, number: int, channels: tuple[int, int]) -> Any:
            reduced, filters = (cls.scaled(each, width) for each in channels)
            x = _conv(x, blocks, reduced, 1, f"conv{number}a")
            return _conv(x, blocks, filters, 3, f"conv{number}")

        x = _conv(x, blocks, cls.scaled(64, width), 7, "conv1", strides=2)
        x = LocalResponseNormalization(name="rnorm1")(_max_pool(x, blocks, "pool1"))
        x = LocalResponseNormalization(name="rnorm2")(pair(x, 2, (64, 192)))
        x = pair(_max_pool(x, blocks, "pool2"), 3, (192, 384))
        x = pair(_max_pool(x, blocks, "pool3"), 4, (384, 256))
        x = pair(pair(x, 5, (256, 256)), 6, (256, 256))
        x = layers.Flatten(name="concat")(_max_pool(x, blocks, "pool4"))
        for name in ("fc1", "fc2"):
            # Maxout with p = 2, of 32×128 units
            units = cls.scaled(4096, width)
            pieces = [layers.Dense(units, name=f"{name}_{piece}")(x) for piece in ("a", "b")]
            x = layers.Maximum(name=name)(pieces)
        return x


class FaceNetInception(FaceNet):
    """A FaceNet of Inception modules. Subclasses choose modules, their width and the last FC."""

    modules = tuple(MODULES)
    # Modules without the branch of 5×5 convolutions.
    without_5x5: tuple[str, ...] = ()
    # Units of an FC over the whole last map, or None for the mean of each channel.
    hidden: int | None = None

    @classmethod
    def build_feature(cls, x: Any, blocks: Blocks, width: float = 1.0, **_: Any) -> Any:
        x = _conv(x, blocks, cls.scaled(64, width), 7, "conv1", strides=2)
        x = LocalResponseNormalization(name="norm1")(_max_pool(x, blocks, "pool1"))
        x = _conv(x, blocks, cls.scaled(64, width), 1, "inception2_reduce3")
        x = _conv(x, blocks, cls.scaled(192, width), 3, "inception2_conv3")
        x = _max_pool(LocalResponseNormalization(name="norm2")(x), blocks, "pool2")
        for name in cls.modules:
            x = cls._module(x, blocks, width, name)
        if cls.hidden is None:
            return layers.GlobalAveragePooling2D(name="feature")(x)
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(scaled(cls.hidden, width, multiple=1), name="hidden_fc")(x)
        return blocks.relu(x, "feature")

    @classmethod
    def _module(cls, x: Any, blocks: Blocks, width: float, key: str) -> Any:
        module, name = MODULES[key], f"inception{key}"
        strides = module.strides

        def conv(x: Any, channels: int, size: int, place: str, strides: int = 1) -> Any:
            return _conv(x, blocks, cls.scaled(channels, width), size, f"{name}_{place}", strides)

        branches = [conv(x, module.single, 1, "single")] if module.single else []
        reduced = conv(x, module.reduce3, 1, "reduce3")
        branches.append(conv(reduced, module.conv3, 3, "conv3", strides))
        if key not in cls.without_5x5:
            reduced = conv(x, module.reduce5, 1, "reduce5")
            branches.append(conv(reduced, module.conv5, 5, "conv5", strides))
        if strides == 2:
            pooled = _max_pool(x, blocks, name)
        elif module.pool == "l2":
            pooled = L2Pooling2D(name=f"{name}_pool")(x)
        else:
            pooled = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
        if module.projection:
            pooled = conv(pooled, module.projection, 1, "projection")
        return layers.Concatenate(name=name)([*branches, pooled])


@keras.saving.register_keras_serializable("gfkeras")
class FaceNetNN2(FaceNetInception):
    """7.5 M parameters and 1.6 G multiply-accumulates at 224×224, with a 128 FC."""


@keras.saving.register_keras_serializable("gfkeras")
class FaceNetNN3(FaceNetInception):
    """NN2 at 160×160: 7.5 M parameters and 0.81 G multiply-accumulates, with a 128 FC."""

    paper_size = (160, 160)


@keras.saving.register_keras_serializable("gfkeras")
class FaceNetNN4(FaceNetInception):
    """6.6 M parameters and 285 M multiply-accumulates at 96×96, with a 128 FC.

    The paper leaves out 5×5 convolutions "in the higher layers". Leaving them out of the last
    three modules gives the paper's 6.6 M parameters and 285 M multiply-accumulates. (OpenFace
    leaves them out of the last two.)
    """

    paper_size = (96, 96)
    without_5x5 = ("4e", "5a", "5b")


@keras.saving.register_keras_serializable("gfkeras")
class FaceNetNNS1(FaceNetInception):
    """26 M parameters and 221 M multiply-accumulates at 165×165, with a 128 FC.

    The paper gives only the input size, 26 M parameters, 220 M multiply-accumulates, and that depth
    and channels are reduced. This network is one that fits: seven modules of NN2 with half the
    channels, and an FC of 1,328 units over the last map.
    """

    paper_size = (165, 165)
    channels_factor = 0.5
    modules = ("3a", "3b", "3c", "4a", "4e", "5a", "5b")
    hidden = 1328


@keras.saving.register_keras_serializable("gfkeras")
class FaceNetNNS2(FaceNetInception):
    """4.3 M parameters and 20 M multiply-accumulates at 140×116, with a 128 FC.

    As for NNS1, the paper gives only these numbers. This network has four modules of NN2 with 3/16
    of the channels, and an FC of 1,056 units over the last map.
    """

    paper_size = (140, 116)
    channels_factor = 3 / 16
    modules = ("3a", "3c", "4e", "5a")
    hidden = 1056
