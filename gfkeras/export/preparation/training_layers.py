"""Layers that do nothing at inference."""

from __future__ import annotations

import keras

from gfkeras.export.preparation.network import Network

_TRAINING_ONLY = (
    keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.AlphaDropout,
    keras.layers.GaussianDropout, keras.layers.GaussianNoise, keras.layers.ActivityRegularization,
    keras.layers.Identity,
)  # fmt: skip


def drop_training_layers(network: Network) -> None:
    """Takes out dropout, noise and what hands on its input as it is."""
    for node in network:
        linear = (
            issubclass(node.layer, keras.layers.Activation)
            and node.config["activation"] == "linear"
        )
        if linear or issubclass(node.layer, _TRAINING_ONLY):
            network.remove(node.name)
