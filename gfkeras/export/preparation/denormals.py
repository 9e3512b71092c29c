"""Weights whose products would be denormal."""

from __future__ import annotations

import numpy as np

from gfkeras.export.preparation.network import Network

# Far under float32's resolution of anything a network adds up, far above 1.2e-38, where
# denormals begin and processors compute a hundred times slower.
SMALLEST = 1e-30


def flush_denormals(network: Network) -> None:
    """Sets weights of less than 1e-30 to zero."""
    for node in network:
        weights = tuple(np.where(np.abs(w) < SMALLEST, 0.0, w) for w in node.weights)
        network.replace(node, weights=weights)
