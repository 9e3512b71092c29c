"""Pipelines of Keras layers for uint8 batches, with reproducible random numbers."""

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from gfkeras.data.augmentation.catalog import AUGMENTATIONS, make_layer

# Odd and near 2³¹ divided by the golden ratio. The seeds of a call are multiples of this number,
# millions apart, so calls whose keys count up by one do not use each other's seeds.
_STRIDE = 0x4F1BBCDD


class KeyedSeeds(keras.random.SeedGenerator):
    """A seed generator without state: the n-th seed after `start` is a function of key and n.

    Many layers and threads can share one object, because each thread has its own key and count.
    Set it as a layer's `generator` and call the layer within `with seeds.start(key):`.
    """

    def __init__(self) -> None:
        super().__init__(seed=0)
        self._local = threading.local()

    @contextlib.contextmanager
    def start(self, key: Any) -> Iterator[None]:
        """Derives seeds from `key` inside the block: two integers of 31 bits, or a tensor."""
        self._local.key = ops.cast(ops.convert_to_tensor(key), self.state.dtype)
        self._local.count = 0
        try:
            yield
        finally:
            self._local.key = None

    def next(self, ordered: bool = True) -> Any:
        """Returns the next seed, (2,) integers."""
        key = getattr(self._local, "key", None)
        if key is None:
            raise RuntimeError("KeyedSeeds gives seeds only within `with seeds.start(key):`")
        self._local.count += 1
        step = np.array([self._local.count * _STRIDE % 2**31, 0])
        return ops.add(key, ops.convert_to_tensor(step, dtype=key.dtype))


class LayerPipeline:
    """Applies Keras layers, described as for `catalog.make_layer`, to uint8 images.

    A key of two integers modulo 2³¹ determines the result completely. Arrays and `tf.data` tensors
    (in a graph, with known height and width) give the same result up to one grey level, because
    both go through the same compiled function. The function runs on the CPU: it does not wait for
    the accelerator, and its result does not depend on it. With a backend other than TensorFlow, a
    TensorFlow graph calls out to that backend. Between layers, images are float32 and clipped to
    0…255 under every dtype policy. At the end they are rounded.
    """

    def __init__(self, layers: Sequence[Mapping[str, Any]]):
        self._seeds = KeyedSeeds()
        self._steps: list[tuple[keras.layers.Layer, float]] = []
        for table in layers:
            arguments = dict(table)
            layer, probability = make_layer(arguments.pop("name"), arguments)
            # Layers of Keras draw their seeds from this attribute.
            layer.generator = self._seeds
            self._steps.append((layer, probability))
        self._compiled_by_jax = all(AUGMENTATIONS[t["name"]].compiled_by_jax for t in layers)
        # One compiled function for each image shape.
        self._function = functools.cache(self._compile)

    def __call__(self, images: Any, key: Any) -> Any:
        tensorflow = sys.modules.get("tensorflow")
        if tensorflow is not None and tensorflow.is_symbolic_tensor(images):
            return self._in_graph(tensorflow, images, key)
        return self._eagerly(np.asarray(images), np.asarray(key))

    def _eagerly(self, images: np.ndarray, key: np.ndarray) -> np.ndarray:
        if key.shape != (2,) or key.dtype.kind not in "iu":
            raise ValueError(f"`key` must be two integers. Received: key={key!r}")
        with _on_processor():
            key = (key.astype(np.int64) % 2**31).astype(self._seeds.state.dtype)
            return np.asarray(self._function(images.shape[1:])(images, key))

    def _in_graph(self, tensorflow: Any, images: Any, key: Any) -> Any:
        if keras.backend.backend() != "tensorflow":
            out = tensorflow.numpy_function(self._eagerly, [images, key], "uint8", stateful=False)
            return tensorflow.ensure_shape(out, images.shape)
        key = tensorflow.cast(tensorflow.cast(key, "int64") % 2**31, self._seeds.state.dtype)
        out = self._function(tuple(images.shape[1:]))(images, key)
        return tensorflow.ensure_shape(out, images.shape)

    def _compile(self, image_shape: tuple[int, ...]) -> Callable[[Any, Any], Any]:
        """Returns the function for images of one shape, in batches of any size."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow

            signature = [
                tensorflow.TensorSpec((None, *image_shape), "uint8"),
                tensorflow.TensorSpec((2,), self._seeds.state.dtype),
            ]
            return tensorflow.function(self._run, signature, autograph=False)
        if keras.backend.backend() == "jax" and self._compiled_by_jax:
            import jax

            return jax.jit(self._run)
        return self._run

    def _run(self, images: Any, key: Any) -> Any:
        with self._seeds.start(key):
            images = ops.cast(images, "float32")
            for layer, probability in self._steps:
                changed = ops.clip(layer(images, training=True), 0.0, 255.0)
                if probability < 1:
                    shape = (ops.shape(images)[0], 1, 1, 1)
                    drawn = keras.random.uniform(shape, dtype="float32", seed=self._seeds)
                    changed = ops.where(drawn < probability, changed, images)
                images = changed
            return ops.cast(ops.round(images), "uint8")


def _on_processor() -> contextlib.AbstractContextManager[Any]:
    if keras.backend.backend() == "jax":
        import jax

        # Keras's "cpu:0" is the first CPU of all hosts, which can belong to another process.
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    return keras.device("cpu:0")
