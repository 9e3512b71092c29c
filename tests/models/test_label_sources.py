"""Wrong labels, whatever `fit` and `evaluate` get them from."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from processes import run_python

import gfkeras
from gfkeras.heads import ArcFace
from gfkeras.losses import CenterLoss
from gfkeras.models.checked_data import checked_data

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data's and tf.distribute's data sets"
)
SAID = r"`labels` must lie in \[0, {}\)\. Received: labels from {} to {}"


def classifier(head, *losses):
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, keras.layers.Dense(5)(keras.layers.Flatten()(images)))
    training = gfkeras.FaceClassifier(model, head, list(losses))
    training.compile(keras.optimizers.SGD(1e-4))
    return training


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3)).astype("float32")


class Foreign:
    """A tensor of another library, as PyTorch's: on a device until `cpu` is called."""

    def __init__(self, values):
        self.values = values

    def cpu(self):
        return self.values


class DataLoader:
    """A stand-in with the name and module by which PyTorch's loader is recognised."""

    __module__ = "torch.utils.data.dataloader"

    def __init__(self, *arrays):
        self.arrays, self.batch_size = arrays, 2

    def __setattr__(self, name, value):
        assert name != "__class__"
        object.__setattr__(self, name, value)

    def __iter__(self):
        for start in (0, 2):
            yield [array[start : start + 2] for array in self.arrays]


def test_a_loader_of_pytorch_raises_at_the_batch_with_the_label(images):
    loader = DataLoader(images, np.array([0, 1, 2, 3]))
    checked = checked_data(loader, None, 3)
    # A second epoch raises as the first did, and the loader itself is left as it was.
    for _ in range(2):
        batches = iter(checked)
        assert len(next(batches)) == 2
        with pytest.raises(ValueError, match=SAID.format(3, 2, 3)):
            next(batches)
    assert isinstance(checked, DataLoader)
    assert checked.batch_size == 2
    assert len(list(loader)) == 2
    with pytest.raises(ValueError, match=SAID.format(3, -1, 0)):
        checked_data(images[:2], Foreign(np.array([-1, 0])), 3)


@pytest.mark.parametrize("wrong", [[0, 1, 2, 3], [0, -1, 2, 1]])
def test_tensors_batches_of_tensors_and_single_batches(images, wrong):
    training = classifier(ArcFace(3))
    said = SAID.format(3, min(wrong), max(wrong))
    tensor = keras.ops.convert_to_tensor(np.array(wrong, "int32"))
    with pytest.raises(ValueError, match=said):
        training.fit(images, tensor, verbose=0)
    with pytest.raises(ValueError, match=said):
        training.fit(((images, tensor) for _ in range(2)), verbose=0)
    with pytest.raises(ValueError, match=said):
        training.fit(images, np.zeros(4, "int32"), validation_data=(images, tensor), verbose=0)
    with pytest.raises(ValueError, match=said):
        training.train_on_batch(images, np.array(wrong))
    with pytest.raises(ValueError, match=said):
        training.test_on_batch(images, np.array(wrong))
    for weight in training.get_weights():
        assert np.isfinite(weight).all()


def test_what_is_no_number_and_what_is_nothing(images):
    training = classifier(ArcFace(3))
    with pytest.raises(ValueError, match=r"`labels` must be integers\. Received: labels of dtype"):
        training.fit(images, np.array(["a", "b", "c", "d"]), verbose=0)
    with pytest.raises(ValueError, match="`x` must hold at least one image"):
        training.fit(images[:0], np.zeros(0, "int32"), verbose=0)


def test_a_loss_may_know_fewer_classes_than_the_head(images):
    labels = np.array([0, 1, 2, 3])
    for training in (classifier(None, CenterLoss(3)), classifier(ArcFace(9), CenterLoss(3))):
        with pytest.raises(ValueError, match=SAID.format(3, 0, 3)):
            training.fit(images, labels, verbose=0)


@needs_tensorflow
def test_more_classes_than_the_type_of_the_labels_holds(images):
    import tensorflow as tf

    labels = np.array([0, 44, 200, 255], "uint8")
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    loss = classifier(ArcFace(300)).fit(data, verbose=0).history["loss"]
    assert np.isfinite(loss[0])


DISTRIBUTED = """
import re
import keras, numpy as np, tensorflow as tf
import gfkeras
from gfkeras.training.optimizers import SGD

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3)).astype("float32")
good = np.array([0, 1, 2, 0, 1, 2, 0, 1], "int32")

def batches(labels, size):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(size)

def whole(labels):
    return strategy.experimental_distribute_dataset(batches(labels, 4))

def made_on_each(labels):
    return strategy.distribute_datasets_from_function(lambda _: batches(labels, 2))

for head in (gfkeras.heads.ArcFace, gfkeras.heads.PartialFC):
    with strategy.scope():
        x = keras.Input((4, 4, 3))
        model = keras.Model(x, keras.layers.Dense(5)(keras.layers.Flatten()(x)))
        sampled = {} if head is gfkeras.heads.ArcFace else {"sample_rate": 0.5, "batch_size": 4}
        training = gfkeras.FaceClassifier(model, head(30, **sampled))
        training.compile(SGD(1e-4))
    first = [np.array(weight) for weight in training.model.get_weights()]
    said = []
    for place, wrong in ((2, 30), (0, -1)):
        labels = good.copy()
        labels[place] = wrong
        for data in (whole(labels), made_on_each(labels)):
            try:
                training.fit(data, verbose=0)
            except ValueError as error:
                said.append(str(error))
        try:
            training.evaluate(whole(labels), verbose=0)
        except ValueError as error:
            said.append(str(error))
    kept = all((a == b).all() for a, b in zip(first, training.model.get_weights(), strict=True))
    loss = training.fit(whole(good), validation_data=whole(good), epochs=2, verbose=0).history
    print([head.__name__, sorted(said), kept, loss["loss"] + loss["val_loss"]])
"""


@needs_tensorflow
def test_data_sets_that_were_distributed_before():
    for _, said, kept, loss in run_python(DISTRIBUTED, two_cpus=True):
        text = "`labels` must lie in [0, 30). Received: labels from {} to {}"
        # The labels of both replicas' parts of the first batch, or of a replica's own.
        assert len(said) == 6
        assert {line.partition("from ")[0] for line in said} == {text.partition("from ")[0]}
        assert sum(line.endswith("to 30") for line in said) == 3
        assert sum("from -1" in line for line in said) == 3
        assert kept
        assert np.isfinite(loss).all()
        assert len(loss) == 4
