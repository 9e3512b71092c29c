"""The first centers, drawn without arrays beside them."""

from __future__ import annotations

from typing import Any

import keras


class CentersInitializer(keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal` of deviation 0.01, the same values in less memory.

    Keras draws N(0, 1), multiplies, then adds, each into an array of its own: with a million
    identities that is more memory than any later step takes. Compiled, TensorFlow does all
    in one array.
    """

    def __init__(self) -> None:
        super().__init__(stddev=0.01)

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        if keras.backend.backend() != "tensorflow":
            return super().__call__(shape, dtype)
        import tensorflow as tf

        return tf.function(super().__call__)(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {}
