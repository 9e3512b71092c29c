"""Keras models, on any Keras backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from gfkeras.inference.runtimes.runtime import image_input
from gfkeras.models.outputs import as_outputs


class KerasModelRuntime:
    """Runs a `keras.Model` in memory, compiled by its Keras backend.

    Args:
        model: from images to an embedding or a dictionary with one.
    """

    compiles = True
    good_batch = 64

    def __init__(self, model: keras.Model):
        self.model = model
        shape = getattr(model, "input_shape", None)
        self.image_size, self.batch_size = image_input(
            shape if isinstance(shape, tuple) else None, f"`model` ({type(model).__name__})"
        )

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        result: dict[str, Any] = as_outputs(self.model.predict_on_batch(images))
        return {name: keras.ops.convert_to_numpy(value) for name, value in result.items()}
