"""First centers that are drawn without more memory than they take."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

# TensorFlow's kernels want arrays that begin at a multiple of 64 bytes.
ALIGNMENT = 16


class CentersInitializer(keras.initializers.RandomNormal):
    """N(0, 0.01²) as of the other heads, drawn with one array beside the variable's.

    Keras draws N(0, 1), multiplies, then adds, each into an array of its own, and
    TensorFlow's allocator keeps them: with a million identities that would be more memory
    than all the steps that follow take.
    """

    def __init__(self) -> None:
        super().__init__(stddev=0.01)

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        size = int(np.prod(shape))
        memory = np.empty(size + ALIGNMENT, "float32")
        start = -(memory.ctypes.data // memory.itemsize) % ALIGNMENT
        values = memory[start : start + size].reshape(shape)
        np.random.default_rng(self.seed).standard_normal(out=values, dtype="float32")
        if keras.backend.backend() != "tensorflow":
            return keras.ops.convert_to_tensor(values, dtype) * self.stddev
        import tensorflow as tf

        # Makes the one array that the variable takes over; NumPy's own goes back to the system.
        return tf.experimental.dlpack.from_dlpack(values.__dlpack__()) * self.stddev
