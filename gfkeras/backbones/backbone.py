"""Base class of the backbones: input, embedding FC and building blocks."""

from typing import Any, Self

import keras
from keras import layers

from gfkeras.errors import positive_int
from gfkeras.layers import BatchNormalization, Conv2D, InputNormalization, PReLU
from gfkeras.saving import SavableModel


class Blocks:
    """The layers of a backbone with its settings. Each layer is named after its place."""

    def __init__(self, bn_momentum: float, bn_epsilon: float, kernel_initializer: Any):
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
    def pad(x: Any, name: str) -> Any:
        """Pads by 1 on all sides.

        With stride 2, "same" padding pads the far side only. Weights from PyTorch or MXNet
        would then get every feature map shifted by one.
        """
        return layers.ZeroPadding2D(1, name=f"{name}_pad")(x)

    def _padded(self, x: Any, size: int, strides: int, name: str) -> tuple[Any, str]:
        """Returns the padded input of a convolution, and its `padding` argument.

        A 3×3 convolution gets a padding of 1 on all sides, and any other gets none.
        """
        # At stride 1, "same" is symmetric already, and saves an op at inference.
        if size == 3 and strides == 1:
            return x, "same"
        return self.pad(x, name) if size == 3 else x, "valid"

    def conv(self, x: Any, filters: int, size: int, name: str, strides: int = 1) -> Any:
        x, padding = self._padded(x, size, strides, name)
        return Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            use_bias=False,
            kernel_initializer=self.kernel_initializer,
            name=f"{name}_conv",
        )(x)

    def depthwise(self, x: Any, name: str, size: int = 3, strides: int = 1) -> Any:
        x, padding = self._padded(x, size, strides, name)
        return layers.DepthwiseConv2D(
            size,
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
        embedding_dim: None gives the flat feature, (B, F). A number adds the FC and batch
            normalisation of ArcFace's option E, and gives (B, embedding_dim).
        input_shape: (height, width, 3). Both sides must be multiples of 16, because strides
            halve them four times.
        bn_momentum, bn_epsilon: momentum and epsilon of every batch normalisation. PyTorch uses
            an epsilon of 1e-5, and MXNet's networks use 2e-5.
        pixel_scale: pixels become (x − 127.5)·pixel_scale. Use 1/127.5 unless imported weights
            need another scale.
        kernel_initializer: initializer of every convolution.
        arguments: the subclass's own arguments, by name.

    Call arguments:
        images: (B, height, width, 3), uint8 or float32, 0…255.

    Returns:
        float32, not normalised.
    """

    def __init__(
        self,
        *,
        embedding_dim: int | None,
        input_shape: tuple[int, int, int],
        bn_momentum: float,
        bn_epsilon: float,
        pixel_scale: float,
        kernel_initializer: Any,
        name: str | None,
        **arguments: Any,
    ):
        if embedding_dim is not None:
            positive_int("embedding_dim", embedding_dim)
        shape = tuple(input_shape)
        if len(shape) != 3 or shape[2] != 3 or any(side < 1 or side % 16 for side in shape[:2]):
            raise ValueError(
                "`input_shape` must be (height, width, 3), its sides multiples of 16. "
                f"Received: input_shape={shape}"
            )
        blocks = Blocks(bn_momentum, bn_epsilon, keras.initializers.get(kernel_initializer))
        images = keras.Input(shape, name="images")
        x = InputNormalization(scale=pixel_scale, name="input_normalization")(images)
        x = self.build_feature(x, blocks, **arguments)
        if embedding_dim is not None:
            x = layers.Dense(embedding_dim, use_bias=False, name="embedding_fc")(x)
            x = blocks.bn(x, "embedding")
        outputs = layers.Activation("linear", dtype="float32", name="output")(x)
        super().__init__(inputs=images, outputs=outputs, name=name)
        self.embedding_dim = embedding_dim
        self._arguments = {
            "embedding_dim": embedding_dim,
            "input_shape": shape,
            "bn_momentum": bn_momentum,
            "bn_epsilon": bn_epsilon,
            "pixel_scale": pixel_scale,
            "kernel_initializer": keras.initializers.serialize(blocks.kernel_initializer),
            **arguments,
        }

    @staticmethod
    def build_feature(x: Any, blocks: Blocks, **arguments: Any) -> Any:
        """Maps normalised pixels (B, H, W, 3) to the flat feature (B, F)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        return cls(**config)
