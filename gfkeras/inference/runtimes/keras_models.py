"""Runtimes of Keras models on any backend, and of SavedModels."""

import threading
import weakref
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.errors import reading, require
from gfkeras.inference.runtimes.runtime import image_input, named_outputs
from gfkeras.inference.runtimes.savedmodel_operators import check_operators
from gfkeras.models.properties import as_outputs

# One lock per model, shared by all runtimes of the model.
_LOCKS: weakref.WeakKeyDictionary[keras.Model, threading.Lock] = weakref.WeakKeyDictionary()
_LOCKS_CHANGE = threading.Lock()


class KerasModelRuntime:
    """Runs a `keras.Model` in memory, compiled by its Keras backend, one call at a time.

    Keras creates the compiled function in the first call. On JAX, it also moves the model's state
    during each call. Two calls at the same time would mix this up.

    Attributes:
        lock: lock for reading the weights, because on JAX a running call takes them away.
    """

    compiles = True
    good_batch = 64

    def __init__(self, model: keras.Model):
        self.model = model
        with _LOCKS_CHANGE:
            self.lock = _LOCKS.setdefault(model, threading.Lock())
        shape = getattr(model, "input_shape", None)
        self.image_size, self.batch_size = image_input(
            shape if isinstance(shape, tuple) else None, f"`model` ({type(model).__name__})"
        )

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with self.lock:
            result: dict[str, Any] = as_outputs(self.model.predict_on_batch(images))
        return {name: keras.ops.convert_to_numpy(value) for name, value in result.items()}


class SavedModelRuntime:
    """Runs the `serving_default` signature of a SavedModel folder, for any number of threads.

    A TensorFlow graph can read and write files when it runs. A graph with such operators is refused
    unless `trust` is true.
    """

    compiles = False
    good_batch = 64

    def __init__(self, path: Path, trust: bool = False):
        tf = require("tensorflow", "tensorflow")
        # For damaged folders, TensorFlow raises a dozen types of errors, and Protocol Buffers more.
        with reading(path, "a SavedModel", anything=True):
            if not trust:
                check_operators(path)
            # The variables exist only as long as this object.
            self._model = tf.saved_model.load(str(path))
            self._function = self._model.signatures["serving_default"]
        inputs = self._function.structured_input_signature[1]
        self._input = next(iter(inputs))
        shape = inputs[self._input].shape
        self.image_size, self.batch_size = image_input(
            None if shape.rank is None else shape.as_list(), str(path)
        )
        self._outputs = list(self._function.structured_outputs)
        self._names = named_outputs(self._outputs, str(path))
        self._tensor = tf.constant

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        result = self._function(**{self._input: self._tensor(images)})
        return {
            name: result[key].numpy() for key, name in zip(self._outputs, self._names, strict=True)
        }
