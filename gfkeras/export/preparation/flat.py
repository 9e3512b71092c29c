"""Flattening whose result's width is known beforehand."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from gfkeras.export.preparation.network import Network


@keras.saving.register_keras_serializable("gfkeras")
class FixedFlatten(keras.layers.Flatten):
    """`keras.layers.Flatten` as one reshape to (-1, width).

    Keras' reads the batch's size of each image it runs on, with four operators more, before which
    an integer network has to become a float one.
    """

    def call(self, inputs: Any) -> Any:
        return ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))


def fix_flattening(network: Network) -> None:
    """Replaces `Flatten` by `FixedFlatten` where all sides are known."""
    for node in network:
        if node.layer is keras.layers.Flatten and None not in node.shape:
            network.replace(node, layer=FixedFlatten)
