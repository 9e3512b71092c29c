"""What flows through a prepared network."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from gfkeras.export.preparation.network import Network

_AT_ONCE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """What was seen of each channel, by node.

    Attributes:
        largest: (C,) largest absolute value.
        mean: (C,) mean value.
    """

    largest: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]


def observe_channels(network: Network, images: np.ndarray) -> Channels:
    """Runs images through a network and looks at each node's channels.

    Args:
        network: prepared.
        images: (N, H, W, 3), 0…255.
    """
    model = network.model()
    observer = keras.Model(
        model.input, {name: model.get_layer(name).output for name in network.nodes}
    )
    largest: dict[str, np.ndarray] = {}
    total: dict[str, np.ndarray] = {}
    for start in range(0, len(images), _AT_ONCE):
        batch = np.asarray(images[start : start + _AT_ONCE], np.float32)
        for name, value in observer(batch, training=False).items():
            places = tuple(range(len(value.shape) - 1))
            seen = ops.convert_to_numpy(ops.max(ops.abs(value), axis=places))
            sums = ops.convert_to_numpy(ops.mean(value, axis=places)) * len(batch)
            largest[name] = np.maximum(largest.get(name, 0.0), seen)
            total[name] = total.get(name, 0.0) + sums
    return Channels(largest, {name: sums / len(images) for name, sums in total.items()})
