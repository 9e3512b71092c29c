"""Checks of the labels that `fit` and `evaluate` get."""

import contextlib
import re
import sys
from collections.abc import Iterator
from types import GeneratorType
from typing import Any

import keras
import numpy as np

from gfkeras.layers.checks import check_labels

_MESSAGE = re.compile(r"`labels` must lie in \[0, \d+\)\. Received: labels from -?\d+ to -?\d+")
NO_LABELS = (
    "`y` must hold the label of each image: fit(images, labels), or a data set of (images, "
    "labels). Received: {}"
)


def checked_data(x: Any, y: Any, num_classes: int | None) -> Any:
    """Returns `x`, or for a data set one that raises at the first batch with a wrong label.

    A compiled step cannot raise, and its loss becomes NaN for a wrong label. A data set produces
    its batches on the host while the step runs, so the check does not slow down the step.

    Args:
        x: the data for `keras.Model.fit`: arrays, a `tf.data.Dataset`, a
            `keras.utils.PyDataset` or a generator. Anything else is returned unchanged.
        y: the labels, if `x` is an array.
        num_classes: N for labels in [0, N), or None without a head.

    Raises:
        ValueError: for arrays that are not class indices, and for data without labels.
    """
    tf = sys.modules.get("tensorflow")
    if tf is not None and isinstance(x, tf.data.Dataset):
        return _checked_dataset(tf, x, num_classes)
    if isinstance(x, keras.utils.PyDataset):
        return _CheckedPyDataset(x, num_classes)
    if isinstance(x, GeneratorType):
        return (_checked_batch(batch, num_classes) for batch in x)
    if isinstance(y, (list, tuple, np.ndarray)):
        check_labels(np.asarray(y), num_classes)
    elif y is None and _is_array(x):
        raise ValueError(NO_LABELS.format("y=None"))
    return x


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or keras.ops.is_tensor(x)


def _checked_batch(batch: Any, num_classes: int | None) -> Any:
    if not isinstance(batch, (list, tuple)) or len(batch) < 2:
        raise ValueError(NO_LABELS.format("a data set of images alone"))
    if not keras.ops.is_tensor(batch[1]):
        check_labels(np.asarray(batch[1]), num_classes)
    return batch


def _checked_dataset(tf: Any, dataset: Any, num_classes: int | None) -> Any:
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2:
        raise ValueError(NO_LABELS.format("a data set of images alone"))
    if (
        num_classes is None
        or not isinstance(spec[1], tf.TensorSpec)
        or not spec[1].dtype.is_integer
    ):
        return dataset

    def look(images: Any, labels: Any, *rest: Any) -> Any:
        # For an empty batch, the minimum is the largest integer and the maximum the smallest.
        # Both would look like wrong labels.
        least, most = tf.reduce_min(labels), tf.reduce_max(labels)
        wrong = (tf.size(labels) > 0) & ((least < 0) | (most >= num_classes))
        text = tf.strings.format(
            f"`labels` must lie in [0, {num_classes}). Received: labels from {{}} to {{}}",
            (least, most),
        )
        with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(wrong), [text])]):
            return (images, tf.identity(labels), *rest)

    return dataset.map(look)


class _CheckedPyDataset(keras.utils.PyDataset):
    """A `PyDataset` that checks the labels of another one."""

    def __init__(self, data: keras.utils.PyDataset, num_classes: int | None):
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self._data, self._num_classes = data, num_classes

    @property
    def num_batches(self) -> int | None:
        return self._data.num_batches

    def __getitem__(self, index: int) -> Any:
        return _checked_batch(self._data[index], self._num_classes)

    def on_epoch_begin(self) -> None:
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._data.on_epoch_end()


@contextlib.contextmanager
def label_errors(model: keras.Model) -> Iterator[None]:
    """Turns TensorFlow's error for a wrong label into a ValueError with only our message.

    While `fit` runs on JAX, Keras takes the values out of the model's variables, and an error
    would leave the model without them. This puts back the values of the last complete step.
    """
    variables: list[Any] = []
    if keras.backend.backend() == "jax":
        variables = [*model.trainable_variables, *model.non_trainable_variables]
        variables += model.metrics_variables
        if getattr(model, "optimizer", None) is not None:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            variables += model.optimizer.variables
    values = [variable.value for variable in variables]
    try:
        yield
    except Exception as error:
        if variables and values[0].is_deleted():
            model.jax_state_sync()
        else:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        found = _MESSAGE.search(str(error))
        if found is None or isinstance(error, ValueError):
            raise
        raise ValueError(found.group()) from None
