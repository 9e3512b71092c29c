"""A grouped convolution that trains on any device and exports to any format."""

from typing import Any

import keras
from keras import ops

from gfkeras.errors import positive_int
from gfkeras.saving import Configured


@keras.saving.register_keras_serializable("gfkeras")
class GroupedConv2D(Configured, keras.layers.Layer):
    """A convolution of `groups` separate channel groups, without a bias.

    On CPUs, TensorFlow runs `keras.layers.Conv2D(groups=…)` as an XLA cluster, which neither
    TFLite nor ONNX can represent. This layer computes the same result by a depthwise
    convolution with a channel multiplier, summed within each group. InsightFace's MobileFaceNet
    has one such layer.

    Args:
        filters: number of output channels, a multiple of `groups`.
        kernel_size: side of the square kernel.
        groups: number of groups, which divides the input channels and `filters`.
        strides: stride on both axes.
        kernel_initializer: initializer of the kernel (k, k, C_in / groups, filters), the layout
            of `Conv2D(groups=groups)`.

    Call arguments:
        inputs: (B, H, W, C_in). The padding is "valid".

    Returns:
        (B, H', W', filters).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        groups: int,
        strides: int = 1,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = positive_int("filters", filters)
        self.kernel_size = positive_int("kernel_size", kernel_size)
        self.groups = positive_int("groups", groups)
        self.strides = positive_int("strides", strides)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if filters % groups:
            raise ValueError(
                f"`filters` must be a multiple of `groups`. "
                f"Received: filters={filters}, groups={groups}"
            )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if channels is None or channels % self.groups:
            raise ValueError(
                f"The input channels must be a multiple of `groups`={self.groups}. "
                f"Received: input_shape={input_shape}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels // self.groups, self.filters),
            initializer=self.kernel_initializer,
        )

    def call(self, inputs: Any) -> Any:
        size, groups = self.kernel_size, self.groups
        channels = inputs.shape[-1]
        per_group, multiplier = channels // groups, self.filters // groups
        # (k, k, in/g, g·out/g) -> (k, k, g, in/g, out/g) -> (k, k, in, out/g)
        kernel = ops.reshape(self.kernel, (size, size, per_group, groups, multiplier))
        kernel = ops.transpose(kernel, (0, 1, 3, 2, 4))
        kernel = ops.reshape(kernel, (size, size, channels, multiplier))
        x = ops.depthwise_conv(inputs, kernel, strides=self.strides, padding="valid")
        height, width = x.shape[1], x.shape[2]
        # At most four axes, because not every runtime can reduce more.
        x = ops.reshape(x, (-1, height * width * groups, per_group, multiplier))
        return ops.reshape(ops.sum(x, axis=2), (-1, height, width, self.filters))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        height, width = (
            None if side is None else (side - self.kernel_size) // self.strides + 1
            for side in (height, width)
        )
        return batch, height, width, self.filters
