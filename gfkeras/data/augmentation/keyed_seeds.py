"""Randomness of Keras layers that follows from a key instead of from a state.

A Keras layer that draws asks its `generator`, a `keras.random.SeedGenerator`, for the next
seed; the generator counts up in a variable. Inside `tf.data`, whose maps run side by side
and whose position is not saved, the pictures then depend on timing. `KeyedSeeds` in its
place derives the seeds from a key given for the call and from how many were taken since.

All that gfkeras relies on in Keras beyond its documentation is here:

1. a preprocessing layer draws from what its attribute `generator` holds (its documentation,
   `keras.layers.DataLayer`, tells writers of layers to set it, not that users may);
2. drawing calls `generator.next()` and takes a tensor of shape (2,) and of the dtype of
   `generator.state` for a whole seed.

`tests/data/augmentation/test_keyed_seeds.py` fails where a newer Keras changes either, and
where `keras.random` starts to take a key as `seed`, which would make this file unnecessary.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

# Odd and near 2³¹ divided by the golden ratio: the seeds of a call, at multiples of it, lie
# millions apart, so that calls whose keys count up by one do not meet each other's seeds.
_STRIDE = 0x4F1BBCDD


class KeyedSeeds(keras.random.SeedGenerator):
    """A seed generator without state: its n-th seed since `start` is a function of key and n.

    One object may serve many layers and threads; each thread has its own key and count.

    Example:
        seeds = KeyedSeeds()
        layer.generator = seeds
        with seeds.start(key):
            pictures = layer(images)
    """

    def __init__(self) -> None:
        super().__init__(seed=0)
        self._local = threading.local()

    @contextlib.contextmanager
    def start(self, key: Any) -> Iterator[None]:
        """For the block, seeds come from `key`, two integers of 31 bits (a tensor or not)."""
        self._local.key = ops.cast(ops.convert_to_tensor(key), self.state.dtype)
        self._local.count = 0
        try:
            yield
        finally:
            self._local.key = None

    def next(self, ordered: bool = True) -> Any:
        """The next seed, (2,) of integers."""
        key = getattr(self._local, "key", None)
        if key is None:
            raise RuntimeError("KeyedSeeds gives seeds only within `with seeds.start(key):`")
        self._local.count += 1
        step = np.array([self._local.count * _STRIDE % 2**31, 0])
        return ops.add(key, ops.convert_to_tensor(step, dtype=key.dtype))
