"""A small network with batch normalisation in all possible places."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from gfkeras.layers import BatchNormalization, GroupDecisionNetwork, InputNormalization, PReLU

# Batch normalisations below: two of feature maps, and three of one value per image.
MAPS, FLAT = 3, 3


def bn_network(size: int = 16, dim: int = 8, seed: int = 0) -> keras.Model:
    """From (B, size, size, 3) to "embedding" (B, dim): ours, Keras', nested, and within a layer.

    Weights and statistics are drawn by NumPy, the same on every backend.
    """
    inner_input = keras.Input((size // 2, size // 2, 6))
    x = layers.Conv2D(6, 3, padding="same", name="inner_conv")(inner_input)
    x = layers.BatchNormalization(name="inner_bn")(x)
    inner = keras.Model(inner_input, layers.Add()([x, inner_input]), name="inner")
    images = keras.Input((size, size, 3))
    x = InputNormalization()(images)
    x = layers.Conv2D(6, 3, padding="same", name="conv")(x)
    x = BatchNormalization(name="bn")(x)
    x = PReLU(shared_axes=[1, 2], name="prelu")(x)
    x = layers.AveragePooling2D(2)(x)
    x = inner(x)
    x = BatchNormalization(name="last_bn")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(dim, name="fc")(x)
    x = layers.BatchNormalization(name="embedding_bn")(x)
    _, logits = GroupDecisionNetwork(2, hidden_dim=4, name="groups")(x)
    model = keras.Model(images, {"embedding": x, "group_logits": logits})
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0, 0.3, weight.shape)
        if weight.name in ("moving_variance", "gamma"):
            values = 0.5 + np.abs(values)
        weight.assign(values.astype(np.float32))
    return model
