"""Initializers of large variables that need little extra memory."""

from typing import Any

import keras
import numpy as np

# TensorFlow uses an array without a copy if it begins at a multiple of 64 bytes, or 16 floats.
ALIGNMENT = 16


class CentersInitializer(keras.initializers.RandomNormal):
    """Draws N(0, 0.01²), like the other heads, with only one array besides the variable.

    Keras draws N(0, 1), multiplies and adds, each into a new array, and TensorFlow's allocator
    keeps them. With a million identities, that would take more memory than all later steps.
    """

    def __init__(self) -> None:
        super().__init__(stddev=0.01)

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        values = _aligned(shape, np.empty)
        np.random.default_rng(self.seed).standard_normal(out=values, dtype="float32")
        # The product is the array that the variable keeps. NumPy's array is freed.
        return _tensor(values) * self.stddev


class PlaceInitializer(keras.initializers.Zeros):
    """Zeros that are never read or written, so a CPU's system allocates no memory for them."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        return _tensor(_aligned(shape, np.zeros))


def _aligned(shape: tuple[int, ...], make: Any) -> np.ndarray:
    size = int(np.prod(shape))
    memory = make(size + ALIGNMENT, "float32")
    start = -(memory.ctypes.data // memory.itemsize) % ALIGNMENT
    return memory[start : start + size].reshape(shape)


def _tensor(values: np.ndarray) -> Any:
    if keras.backend.backend() != "tensorflow":
        return keras.ops.convert_to_tensor(values)
    import tensorflow as tf

    # A plain conversion copies.
    return tf.experimental.dlpack.from_dlpack(values.__dlpack__())
