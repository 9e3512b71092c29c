"""RandAugment of Keras at the price of the operations it chose."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from gfkeras.errors import positive_int


class RandAugment(keras.layers.RandAugment):
    """`keras.layers.RandAugment`, with the same pictures, several times faster.

    Keras computes all eleven operations `num_ops` times and keeps `num_ops` of the results;
    this computes only those. The operations are chosen once a batch, as Keras does.

    Args:
        num_ops: operations applied one after the other.
        **kwargs: of `keras.layers.RandAugment`.
    """

    def __init__(self, num_ops: int = 2, **kwargs: Any):
        super().__init__(num_ops=positive_int("num_ops", num_ops), **kwargs)

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        operations = [
            functools.partial(self._operation, getattr(self, name), drawn)
            for name, drawn in transformation["transforms"].items()
        ]
        for i in range(self.num_ops):
            images = self._apply(operations, transformation["layer_idxes"][i], images)
        return images

    def _operation(self, layer: Any, drawn: Any, images: Any) -> Any:
        changed = ops.cast(layer.transform_images(images, drawn), self.compute_dtype)
        # All the same to the branches of a graph.
        return ops.reshape(changed, ops.shape(images))

    def _apply(self, operations: list[Any], chosen: Any, images: Any) -> Any:
        try:
            return operations[int(chosen)](images)
        except TypeError:
            # A tensor of a graph has no value yet: the choice becomes part of the graph.
            return ops.switch(chosen, operations, images)
