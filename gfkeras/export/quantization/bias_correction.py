"""What rounding a layer's weights adds to its outputs on average, taken out of its bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import keras
import numpy as np

from gfkeras.export.preparation.linear import response, shift_outputs, takes_bias
from gfkeras.export.preparation.network import Network

_LARGEST = 127


def correct_biases(network: Network, means: Mapping[str, np.ndarray]) -> None:
    """Subtracts E[Ŵx] − E[Wx] = (Ŵ − W)·E[x] from each bias (arXiv 1906.04721, section 4.2).

    Ŵ are the weights as int8 holds them, by output channel. At the border of a convolution that
    pads, where part of x is zero, the mean is taken as inside.

    Args:
        network: prepared and equalised.
        means: (C,) mean of each channel, by node.
    """
    for node in network:
        (source, *others) = node.inputs
        if others or source not in means or not takes_bias(node):
            continue
        kernel = np.asarray(node.weights[0], np.float64)
        # A depthwise kernel is (height, width, inputs, multiplier).
        depthwise = issubclass(node.layer, keras.layers.DepthwiseConv2D)
        axes = (2, 3) if depthwise else (kernel.ndim - 1,)
        error = replace(node, weights=(rounded(kernel, axes) - kernel,))
        network.nodes[node.name] = shift_outputs(node, -response(error, means[source]))


def rounded(kernel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """A kernel after symmetric int8 quantisation with a scale for each place along `axes`."""
    rest = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    scale = np.abs(kernel).max(axis=rest, keepdims=True) / _LARGEST
    scale = np.where(scale > 0, scale, 1.0)
    return np.round(kernel / scale) * scale
