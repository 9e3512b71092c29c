"""A network without a backbone, for tests of the training loop."""

from __future__ import annotations

from typing import Any

import keras

from gfkeras.saving import SavableModel


@keras.saving.register_keras_serializable("gfkeras-tests")
class Pooled(SavableModel):
    """Returns an embedding and group logits from a pooled image, without a slow backbone."""

    def __init__(self, embedding_dim: int, seed: int = 0, **kwargs: Any):
        keras.utils.set_random_seed(seed)
        images = keras.Input((112, 112, 3))
        x = keras.layers.AveragePooling2D(16)(keras.layers.Rescaling(1 / 127.5, -1.0)(images))
        x = keras.layers.Flatten()(x)
        outputs = {
            "embedding": keras.layers.Dense(embedding_dim, dtype="float32")(x),
            "group_logits": keras.layers.Dense(3, dtype="float32")(x),
        }
        super().__init__(images, outputs, **kwargs)
        self.embedding_dim, self.seed = embedding_dim, seed

    def get_config(self) -> dict[str, Any]:
        return {"embedding_dim": self.embedding_dim, "seed": self.seed}
