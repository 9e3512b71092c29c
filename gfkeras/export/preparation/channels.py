"""One factor, or one summand, per channel: what batch normalisation is at inference."""

from __future__ import annotations

from typing import Any

import keras


class _PerChannel(keras.layers.Layer):
    """Holds `values`, (C,); its output has its input's shape."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.values = self.add_weight(name="values", shape=(input_shape[-1],))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


@keras.saving.register_keras_serializable("gfkeras")
class ChannelScale(_PerChannel):
    """y = x·values over the last axis."""

    def call(self, inputs: Any) -> Any:
        return inputs * self.values


@keras.saving.register_keras_serializable("gfkeras")
class ChannelShift(_PerChannel):
    """y = x + values over the last axis."""

    def call(self, inputs: Any) -> Any:
        return inputs + self.values
