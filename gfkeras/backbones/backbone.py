"""Base class of the backbones: input, embedding FC and building blocks."""

from typing import Any, Self

import keras
import numpy as np
from keras import layers

from gfkeras.errors import positive_int
from gfkeras.layers import BatchNormalization, Conv2D, InputNormalization, PReLU
from gfkeras.saving import SavableModel


def scaled(channels: int, width: float, multiple: int = 8) -> int:
    """Returns `channels` times `width`, rounded to a positive multiple of `multiple`."""
    return max(multiple, int(channels * width / multiple + 0.5) * multiple)


class Blocks:
    """The layers of a backbone with its settings. Each layer is named after its place."""

    def __init__(
        self, bn_momentum: float | None, bn_epsilon: float | None, kernel_initializer: Any
    ):
        self.bn_momentum = bn_momentum
        self.bn_epsilon = bn_epsilon
        self.kernel_initializer = kernel_initializer

    def bn(self, x: Any, name: str, **arguments: Any) -> Any:
        return BatchNormalization(
            momentum=self.bn_momentum, epsilon=self.bn_epsilon, name=f"{name}_bn", **arguments
        )(x)

    @staticmethod
    def prelu(x: Any, name: str) -> Any:
        """One slope per channel, 0.25 at the start."""
        return PReLU(
            alpha_initializer=keras.initializers.Constant(0.25),
            shared_axes=[1, 2],
            name=f"{name}_prelu",
        )(x)

    @staticmethod
    def relu(x: Any, name: str) -> Any:
        return layers.ReLU(name=f"{name}_relu")(x)

    @staticmethod
    def pad(x: Any, name: str, pixels: int = 1) -> Any:
        """Pads all sides alike, by 1 if `pixels` is not given.

        With stride 2, "same" padding pads the far side only. Weights from PyTorch, Caffe or MXNet
        would then get every feature map shifted by one.
        """
        return layers.ZeroPadding2D(pixels, name=f"{name}_pad")(x)

    def _padded(self, x: Any, size: Any, strides: int, name: str) -> tuple[Any, str]:
        """Returns the input of a convolution of odd size, padded so that stride 1 keeps the sides.

        The second result is the convolution's `padding` argument.
        """
        if size == 1:
            return x, "valid"
        # At stride 1, "same" is symmetric already, and saves an op at inference.
        return (x, "same") if strides == 1 else (self.pad(x, name, size // 2), "valid")

    def conv(
        self,
        x: Any,
        filters: int,
        size: int | tuple[int, int],
        name: str,
        strides: int = 1,
        use_bias: bool = False,
        padded: bool = True,
        kernel_initializer: Any = None,
    ) -> Any:
        """`padded` pads all sides alike by half the kernel. Otherwise, there is no padding."""
        x, padding = self._padded(x, size, strides, name) if padded else (x, "valid")
        return Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer or self.kernel_initializer,
            name=f"{name}_conv",
        )(x)

    def depthwise(self, x: Any, name: str, strides: int = 1) -> Any:
        x, padding = self._padded(x, 3, strides, name)
        return layers.DepthwiseConv2D(
            3,
            strides=strides,
            padding=padding,
            use_bias=False,
            depthwise_initializer=self.kernel_initializer,
            name=f"{name}_conv",
        )(x)


class Backbone(SavableModel):
    """Base of the backbones: a functional `keras.Model` that knows its arguments.

    A subclass builds its layers from `images` to a flat feature in `build_feature`. It passes
    every constructor argument to `super().__init__`, which keeps them for `get_config`.

    Args:
        embedding_dim: None gives the flat feature, (B, F). A number gives (B, embedding_dim) and
            adds an FC: with the batch normalisation of ArcFace's option E, or with a bias in
            networks without batch normalisation.
        input_shape: (height, width, 3), of any sides that the network's `smallest_side` and
            `side_multiple` allow. Height and width can differ.
        bn_momentum, bn_epsilon: momentum and epsilon of every batch normalisation, if the network
            has any. PyTorch uses an epsilon of 1e-5, and MXNet's networks use 2e-5.
        pixel_scale: pixels become (x − 127.5)·pixel_scale. Use 1/127.5 unless imported weights
            need another scale.
        kernel_initializer: initializer of the convolutions.
        arguments: the subclass's own arguments, by name.

    Call arguments:
        images: (B, height, width, 3), uint8 or float32, 0…255.

    Returns:
        float32, not normalised.
    """

    # Strides halve the sides of most networks four times without a rest.
    smallest_side, side_multiple = 16, 16

    def __init__(
        self,
        *,
        embedding_dim: int | None,
        input_shape: tuple[int, int, int],
        pixel_scale: float,
        kernel_initializer: Any,
        name: str | None,
        bn_momentum: float | None = None,
        bn_epsilon: float | None = None,
        **arguments: Any,
    ):
        if embedding_dim is not None:
            positive_int("embedding_dim", embedding_dim)
        shape = self._checked_shape(input_shape)
        blocks = Blocks(bn_momentum, bn_epsilon, keras.initializers.get(kernel_initializer))
        images = keras.Input(shape, name="images")
        x = InputNormalization(scale=pixel_scale, name="input_normalization")(images)
        x = self.build_feature(x, blocks, **arguments)
        has_bn = bn_epsilon is not None
        if embedding_dim is not None:
            x = layers.Dense(embedding_dim, use_bias=not has_bn, name="embedding_fc")(x)
            x = blocks.bn(x, "embedding") if has_bn else x
        outputs = layers.Activation("linear", dtype="float32", name="output")(x)
        super().__init__(inputs=images, outputs=outputs, name=name)
        self.embedding_dim = embedding_dim
        self._arguments = {
            "embedding_dim": embedding_dim,
            "input_shape": shape,
            **({"bn_momentum": bn_momentum, "bn_epsilon": bn_epsilon} if has_bn else {}),
            "pixel_scale": pixel_scale,
            "kernel_initializer": keras.initializers.serialize(blocks.kernel_initializer),
            **arguments,
        }

    @classmethod
    def _checked_shape(cls, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        # A recipe can hold any value.
        shape = tuple(input_shape) if isinstance(input_shape, (list, tuple)) else input_shape
        least, multiple = cls.smallest_side, cls.side_multiple
        if (
            not isinstance(shape, tuple)
            or len(shape) != 3
            or any(not isinstance(side, (int, np.integer)) for side in shape)
            or shape[2] != 3
            or any(side < least or side % multiple for side in shape[:2])
        ):
            sides = "its sides" + (f" multiples of {multiple}" if multiple > 1 else "")
            raise ValueError(
                f"`input_shape` must be (height, width, 3), {sides} of at least {least} pixels. "
                f"Received: input_shape={input_shape!r}"
            )
        return int(shape[0]), int(shape[1]), 3

    @staticmethod
    def build_feature(x: Any, blocks: Blocks, **arguments: Any) -> Any:
        """Maps normalised pixels (B, H, W, 3) to the flat feature (B, F)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        return cls(**config)
