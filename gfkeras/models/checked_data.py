"""Checks of the labels that `fit` and `evaluate` get."""

import contextlib
import copy
import functools
import re
import sys
from collections.abc import Iterator
from types import GeneratorType
from typing import Any

import keras
import numpy as np

from gfkeras.layers.checks import check_labels
from gfkeras.layers.replica import global_batch

_MESSAGE = re.compile(r"`labels` must lie in \[0, \d+\)\. Received: labels from -?\d+ to -?\d+")
NO_LABELS = (
    "`y` must hold the label of each image: fit(images, labels), or a data set of (images, "
    "labels). Received: {}"
)


def checked_data(x: Any, y: Any, num_classes: int | None) -> Any:
    """Returns `x`, or for a data set one that raises at the first batch with a wrong label.

    A compiled step cannot raise, and its loss becomes NaN for a wrong label. A data set produces
    its batches on the host while the step runs, so the check does not slow down the step. A data
    set that is already distributed is returned unchanged, and `check_in_step` checks its labels.

    Args:
        x: the data for `keras.Model.fit`: arrays, a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a generator, a PyTorch `DataLoader`, or a `MapDataset` or
            `IterDataset` of Grain. Anything else is returned unchanged.
        y: the labels, if `x` is an array.
        num_classes: N for labels in [0, N), or None if any integer is a class.

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
    kind = _kind_of_loader(x)
    if kind == "DataLoader":
        return _checked_loader(x, num_classes)
    if kind is not None:
        return x.map(functools.partial(_checked_batch, num_classes=num_classes))
    if y is not None:
        _check_on_host(y, num_classes)
        if hasattr(x, "__len__") and not len(x):
            raise ValueError("`x` must hold at least one image. Received: none")
    elif _is_array(x):
        raise ValueError(NO_LABELS.format("y=None"))
    return x


def is_distributed(x: Any) -> bool:
    """Whether a data set was distributed with `tf.distribute` before `fit` got it."""
    tf = sys.modules.get("tensorflow")
    return tf is not None and isinstance(x, tf.distribute.DistributedDataset)


def check_in_step(labels: Any, num_classes: int | None) -> Any:
    """Returns labels that make the step fail if they are wrong, for a distributed data set.

    The host does not see these labels. All replicas exchange their labels and fail together,
    because a single one would leave the others waiting. XLA drops the check
    (`jit_compile=True`).
    """
    import tensorflow as tf

    labels = tf.convert_to_tensor(labels)
    if num_classes is None or not labels.dtype.is_integer:
        return labels
    known = tf.cast(labels, tf.int64)
    ends = global_batch(tf.stack([tf.reduce_min(known), tf.reduce_max(known)])[tf.newaxis])
    least, most = tf.reduce_min(ends[:, 0]), tf.reduce_max(ends[:, 1])
    return _asserted(tf, labels, least, most, num_classes)


def _asserted(tf: Any, labels: Any, least: Any, most: Any, num_classes: int) -> Any:
    """Returns the labels, with an assertion that the smallest and the largest are classes."""
    # Without labels, the minimum is the largest integer and the maximum is the smallest.
    right = (least > most) | ((least >= 0) & (most < num_classes))
    text = tf.strings.format(
        f"`labels` must lie in [0, {num_classes}). Received: labels from {{}} to {{}}",
        (least, most),
    )
    with tf.control_dependencies([tf.debugging.Assert(right, [text])]):
        return tf.identity(labels)


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or keras.ops.is_tensor(x)


def _check_on_host(labels: Any, num_classes: int | None) -> None:
    """Checks labels in a list, a data frame, or a tensor of any library."""
    if keras.ops.is_tensor(labels):
        labels = keras.ops.convert_to_numpy(labels)
    # PyTorch's tensors can be on a GPU.
    labels = np.asarray(labels.cpu() if hasattr(labels, "cpu") else labels)
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"`labels` must be integers. Received: labels of dtype {labels.dtype}")
    check_labels(labels, num_classes)


def _checked_batch(batch: Any, num_classes: int | None) -> Any:
    if not isinstance(batch, (list, tuple)) or len(batch) < 2:
        raise ValueError(NO_LABELS.format("a data set of images alone"))
    _check_on_host(batch[1], num_classes)
    return batch


def _kind_of_loader(x: Any) -> str | None:
    """Returns the name of the class of PyTorch or Grain of `x`, recognised as Keras does."""
    for parent in type(x).__mro__:
        place = parent.__module__ or ""
        if parent.__name__ == "DataLoader" and "torch.utils.data" in place:
            return parent.__name__
        if parent.__name__ in ("MapDataset", "IterDataset") and "grain" in place:
            return parent.__name__
    return None


def _checked_loader(loader: Any, num_classes: int | None) -> Any:
    """Returns a copy of a `DataLoader` that checks its batches."""
    kind = type(loader)

    def batches(self: Any) -> Iterator[Any]:
        return (_checked_batch(batch, num_classes) for batch in kind.__iter__(self))

    checked = copy.copy(loader)
    # PyTorch's own `__setattr__` would refuse this.
    object.__setattr__(checked, "__class__", type(kind.__name__, (kind,), {"__iter__": batches}))
    return checked


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
        # The number of classes may not fit into the labels' own type.
        known = tf.cast(labels, tf.int64)
        least, most = tf.reduce_min(known), tf.reduce_max(known)
        return (images, _asserted(tf, labels, least, most, num_classes), *rest)

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
        if found is None or str(error) == found.group():
            raise
        raise ValueError(found.group()) from None
