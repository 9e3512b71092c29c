"""Pixels that int8 holds without rounding."""

from __future__ import annotations

import keras
import numpy as np

from gfkeras.export.preparation.channels import ChannelShift
from gfkeras.export.preparation.linear import response, shift_outputs, takes_bias
from gfkeras.export.preparation.network import IMAGES, Network, Node
from gfkeras.export.quantization.observing import PIXELS


def integer_pixels(network: Network) -> dict[str, tuple[float, float]]:
    """Makes what is subtracted from pixels whole numbers; biases take the rest.

    127.5 less, every pixel would lie half way between two values of int8, which keeps zero for
    the border. With 128 less it lies on one. At a border that is padded this changes the padding's
    grey by the half, and nothing inside.

    Args:
        network: prepared.

    Returns:
        The range of each such node: int8 with a step of 1, whatever calibration faces hold.
    """
    found = {}
    for node in network:
        if node.inputs != (IMAGES,) or not issubclass(node.layer, ChannelShift):
            continue
        readers = _behind_padding(network, node.name)
        shift = np.asarray(node.weights[0], np.float64)
        whole = np.round(shift)
        if not readers or not np.all(whole == whole[0]):
            continue
        network.replace(node, weights=(whole,))
        for reader in readers:
            network.nodes[reader.name] = shift_outputs(reader, response(reader, shift - whole))
        low, high = PIXELS
        found[node.name] = (low + float(whole[0]), high + float(whole[0]))
    return found


def _behind_padding(network: Network, name: str) -> list[Node]:
    """The layers with biases that read a node, past padding; none where anything else does."""
    if network.is_output(name):
        return []
    found = []
    for reader in network.readers(name):
        if issubclass(reader.layer, keras.layers.ZeroPadding2D):
            behind = _behind_padding(network, reader.name)
        else:
            behind = [reader] if takes_bias(reader) else []
        if not behind:
            return []
        found += behind
    return found
