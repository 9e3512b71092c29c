"""PReLU as the larger of two products, which has int8 kernels where PReLU has none."""

from __future__ import annotations

import keras
import numpy as np

from gfkeras.export.preparation.channels import ChannelScale
from gfkeras.export.preparation.network import Network, Node
from gfkeras.layers import MaxPReLU


def rewrite_prelus(network: Network) -> None:
    """Writes each PReLU of channels as max(x, α·x).

    That is PReLU for α ≤ 1. For α > 1 PReLU is min(x, α·x) = −max(−x, −α·x): such a channel's
    sign is turned before and after, which `fold_channels` moves into the layers around it.
    """
    for node in network:
        if not issubclass(node.layer, keras.layers.PReLU):
            continue
        (alpha,) = node.weights
        if any(side != 1 for side in alpha.shape[:-1]):
            # A slope per place: no channel has a sign of its own.
            continue
        alpha = alpha.reshape(-1)
        network.replace(node, layer=MaxPReLU, config={"dtype": "float32"}, weights=(alpha,))
        sign = np.where(alpha > 1, -1.0, 1.0)
        for suffix, source, reader in (
            ("in_sign", node.inputs[0], node.name),
            ("out_sign", node.name, None),
        ):
            turned = Node(f"{node.name}_{suffix}", ChannelScale, {"dtype": "float32"}, (sign,))
            network.insert(turned, source, reader)
