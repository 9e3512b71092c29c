"""Which tensor of a TFLite file holds the output of which node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from keras import ops

from gfkeras.export.preparation.network import Network
from gfkeras.export.quantization.aeq import Ranges
from gfkeras.export.quantization.observing import AllTensors

# Of the largest value, between two runtimes.
_TOLERANCE = 1e-4
# What hands values on keeps their scale as well.
HANDS_ON = (keras.layers.ZeroPadding2D, keras.layers.Flatten, keras.layers.Reshape)


def tensors_of(network: Network, path: Path, image: np.ndarray) -> dict[str, str]:
    """Compares what both compute for an image: names say little after a converter's fusions.

    Args:
        network: prepared.
        path: the float .tflite of it, for one image at a time.
        image: (H, W, 3), 0…255.

    Returns:
        The node of each tensor whose values are that node's output, the first of several (what
        reshapes gives the same values). Tensors inside a layer, and of layers that only hand on
        values, are left out.
    """
    model = network.model()
    observer = keras.Model(
        model.input, {name: model.get_layer(name).output for name in network.nodes}
    )
    computed = observer(image[np.newaxis].astype(np.float32), training=False)
    outputs = {
        node.name: np.ravel(ops.convert_to_numpy(computed[node.name]))
        for node in network
        if not issubclass(node.layer, HANDS_ON)
    }
    found = {}
    for tensor, value in AllTensors(path)(image):
        for name, output in outputs.items():
            if output.size == value.size and _same(output, np.ravel(value)):
                found[tensor] = name
                break
    return found


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return float(np.abs(first - second).max()) <= _TOLERANCE * float(np.abs(first).max())


def by_nodes(ranges: Ranges, nodes: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Ranges of tensors as those of the nodes that they belong to."""
    return {node: ranges[tensor] for tensor, node in nodes.items() if tensor in ranges}


def by_tensors(ranges: Ranges, nodes: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Ranges of nodes as those of the tensors that hold their outputs."""
    return {tensor: ranges[node] for tensor, node in nodes.items() if node in ranges}
