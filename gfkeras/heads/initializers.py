"""Initializers of large variables, with little memory beside them."""

from typing import Any

import keras
import numpy as np

# TensorFlow takes arrays as they are where they begin at a multiple of 64 bytes: of 16 floats.
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
        values = _aligned(shape, np.empty)
        np.random.default_rng(self.seed).standard_normal(out=values, dtype="float32")
        # Makes the one array that the variable takes over; NumPy's goes back to the system.
        return _tensor(values) * self.stddev


class PlaceInitializer(keras.initializers.Zeros):
    """Zeros that nobody reads or writes, of which the system keeps no page on a CPU."""

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
