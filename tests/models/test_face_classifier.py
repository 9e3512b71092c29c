"""Training with `model.fit`: losses, modes, labels and mixed precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import gfkeras
from gfkeras.heads import ArcFace
from gfkeras.losses import CosineDistillationLoss, SelfGroupingLoss


def small_backbone(embedding_dim=None):
    """Returns a backbone of a few layers, since these tests do not depend on the backbone."""
    images = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(images)
    x = keras.layers.Conv2D(6, 5, strides=4, activation="relu")(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Flatten()(x))
    return keras.Model(images, keras.layers.Dense(embedding_dim)(x) if embedding_dim else x)


def classifier(num_classes=3, **arguments):
    backbone = small_backbone()
    model = gfkeras.GroupFace(
        backbone, embedding_dim=8, num_groups=4, group_dim=8, shared_dim=None, **arguments
    )
    return gfkeras.FaceClassifier(model, ArcFace(num_classes), SelfGroupingLoss())


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(12, dtype="int32") % 3
    images = rng.integers(0, 60, (12, 16, 16, 3)) + 80 * labels[:, None, None, None]
    return images.astype("uint8"), labels


def cross_entropy(logits, labels):
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -np.mean([row[label] for row, label in zip(log_p, labels, strict=True)])


def test_loss_is_l1_plus_a_tenth_of_l2(data):
    images, labels = data
    training = classifier()
    training.compile("sgd")
    logs = training.evaluate(images, labels, batch_size=12, verbose=0, return_dict=True)
    out = {k: ops.convert_to_numpy(v) for k, v in training.model(images).items()}
    l1 = cross_entropy(
        ops.convert_to_numpy(training.head(out["embedding"], labels)).astype("float64"), labels
    )
    z = out["group_logits"].astype("float64")
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    l2 = cross_entropy(z, (p - p.mean(axis=0)).argmax(axis=1))
    assert logs["identity_loss"] == pytest.approx(l1, rel=1e-4)
    assert logs["self_grouping_loss"] == pytest.approx(0.1 * l2, rel=1e-4)
    assert logs["loss"] == pytest.approx(l1 + 0.1 * l2, rel=1e-4)


@pytest.mark.parametrize(
    ("mode", "hard_gradient"),
    [
        pytest.param("soft", "straight-through", marks=pytest.mark.slow),
        ("hard", "straight-through"),
        pytest.param("hard", "stopped", marks=pytest.mark.slow),
    ],
)
def test_learns_three_people(mode, hard_gradient, data):
    images, labels = data
    keras.utils.set_random_seed(1)
    training = classifier(mode=mode, hard_gradient=hard_gradient)
    training.compile(keras.optimizers.Adam(0.005))
    history = training.fit(images, labels, batch_size=12, epochs=25, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 3
    assert history["accuracy"][-1] == 1.0
    training.mode = "hard" if mode == "soft" else "soft"
    assert np.isfinite(training.evaluate(images, labels, verbose=0, return_dict=True)["loss"])


def test_mode_switch_recompiles_the_step(data):
    images, labels = data
    training = classifier()
    training.compile("sgd")
    soft = training.evaluate(images, labels, batch_size=12, verbose=0, return_dict=True)
    training.model.mode = "hard"  # Set on the model, not on the classifier.
    hard = training.evaluate(images, labels, batch_size=12, verbose=0, return_dict=True)
    assert abs(hard["identity_loss"] - soft["identity_loss"]) > 1e-4
    training.model.group_scale = 0.0
    alone = training.evaluate(images, labels, batch_size=12, verbose=0, return_dict=True)
    assert abs(alone["identity_loss"] - hard["identity_loss"]) > 1e-4


@pytest.mark.parametrize(
    "policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "mixed_float16"]
)
def test_no_nan_in_200_steps_with_identical_embeddings_and_centers(policy, dtype_policy):
    """Whole batches have θ = 0 and θ = π, where arccos and sqrt have no gradient."""
    dtype_policy(policy)
    keras.utils.set_random_seed(0)
    embedding = keras.Input((8,))
    outputs = {
        "embedding": keras.layers.Dense(8, kernel_initializer="identity", dtype="float32")(
            embedding
        ),
        "group_logits": keras.layers.Dense(4, kernel_initializer="zeros")(embedding),
    }
    training = gfkeras.FaceClassifier(
        keras.Model(embedding, outputs), ArcFace(4), SelfGroupingLoss()
    )
    centers = np.zeros((4, 8), "float32")
    centers[:, 0] = [1, 1, -1, 1]
    training.head.centers.assign(centers)
    training.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    vectors = np.zeros((8, 8), "float32")
    vectors[:6, 0] = [1, 1, -1, -1, 2, 2]  # The last two rows are zero vectors.
    labels = np.array([0, 1, 0, 2, 3, 3, 0, 1], "int32")
    history = training.fit(
        np.tile(vectors, (200, 1)),
        np.tile(labels, 200),
        batch_size=8,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )
    assert np.isfinite(history.history["loss"][-1])
    assert int(training.optimizer.iterations) >= 150  # Loss scaling can skip the first few steps.
    for variable in training.variables:
        assert np.isfinite(ops.convert_to_numpy(variable)).all(), variable.path


def test_plain_backbone_trains_without_groups(data):
    images, labels = data
    training = gfkeras.FaceClassifier(small_backbone(8), ArcFace(3))
    training.compile("sgd")
    logs = training.fit(images, labels, batch_size=12, verbose=0).history
    assert set(logs) == {"loss", "identity_loss", "accuracy"}
    assert training.mode is None
    with pytest.raises(ValueError, match="`mode` needs a GroupFace"):
        training.mode = "hard"


def test_self_grouping_needs_groups():
    with pytest.raises(ValueError, match="SelfGroupingLoss needs a model with 'group_logits'"):
        gfkeras.FaceClassifier(small_backbone(8), ArcFace(3), SelfGroupingLoss())


def test_batch_of_one(data):
    images, labels = data
    training = classifier()
    training.compile("sgd")
    logs = training.fit(images[:1], labels[:1], verbose=0).history
    assert np.isfinite(logs["loss"][0])


def test_labels_out_of_range(data):
    images, labels = data
    training = classifier()
    training.compile("sgd")
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 3\).*from 0 to 7"):
        training.fit(images, np.where(labels == 2, 7, labels), verbose=0)
    with pytest.raises(ValueError, match="`labels` must be integers"):
        training.fit(images, labels.astype("float32"), verbose=0)
    with pytest.raises(ValueError, match="`loss` is set by"):
        training.compile("sgd", loss="mse")


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return tuple(array[6 * index : 6 * index + 6] for array in self.arrays)


def generated(images, labels):
    yield images, labels


def tensorflow_data(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays).batch(4)


KINDS = [Batches, generated]
if keras.backend.backend() == "tensorflow":
    KINDS.append(tensorflow_data)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_data_sets_are_checked(data, kind):
    images, labels = data
    training = classifier()
    training.compile("sgd")
    before = [np.array(weight) for weight in training.model.get_weights()]
    for wrong in (labels + 1, np.where(labels == 0, -1, labels)):
        said = rf"`labels` must lie in \[0, 3\)\. Received: labels from {wrong.min()} to"
        with pytest.raises(ValueError, match=said):
            training.fit(kind(images, wrong), verbose=0)
        with pytest.raises(ValueError, match=said):
            training.evaluate(kind(images, wrong), verbose=0)
    for a, b in zip(before, training.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(training.fit(kind(images, labels), verbose=0).history["loss"][0])
    with pytest.raises(ValueError, match="`y` must hold the label of each image"):
        training.fit(images, verbose=0)
    if kind is not generated:
        with pytest.raises(ValueError, match="`y` must hold the label of each image"):
            training.fit(kind(images), verbose=0)
        with pytest.raises(ValueError, match="`labels` must lie"):
            training.fit(kind(images, labels), validation_data=kind(images, labels + 1), verbose=0)


def test_sample_weights(data):
    images, labels = data
    training = classifier()
    training.compile("sgd")
    weights = np.zeros(12, "float32")
    logs = training.evaluate(
        images, labels, sample_weight=weights, batch_size=12, verbose=0, return_dict=True
    )
    assert logs["identity_loss"] == 0


def test_classifier_round_trip(data, tmp_path):
    images, labels = data
    training = classifier()
    training.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    training.fit(images, labels, batch_size=6, verbose=0)
    training.save(tmp_path / "training.keras")
    twin = keras.saving.load_model(tmp_path / "training.keras")
    a = training.evaluate(images, labels, verbose=0, return_dict=True)
    b = twin.evaluate(images, labels, verbose=0, return_dict=True)
    assert a == pytest.approx(b, rel=1e-5)


def test_keras_callbacks_work_unchanged(data, tmp_path):
    images, labels = data
    training = classifier()
    training.compile(keras.optimizers.SGD(0.1))
    training.fit(
        images,
        labels,
        validation_data=(images, labels),
        epochs=3,
        batch_size=6,
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss"),
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=1),
            keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        ],
    )
    assert (tmp_path / "best.keras").is_file()
    assert "val_identity_loss" in (tmp_path / "log.csv").read_text().splitlines()[0]


def test_early_stopping_knows_the_direction(data):
    images, labels = data
    training = classifier()
    training.compile("sgd")
    stops = {
        metric: keras.callbacks.EarlyStopping(monitor=f"val_{metric}", patience=1)
        for metric in ("accuracy", "identity_loss", "self_grouping_loss")
    }
    training.fit(
        images[:4], labels[:4], validation_data=(images[:4], labels[:4]), verbose=0,
        callbacks=list(stops.values()),
    )  # fmt: skip
    higher_is_better = {name: bool(stop.monitor_op(2.0, 1.0)) for name, stop in stops.items()}
    assert higher_is_better == {
        "accuracy": True, "identity_loss": False, "self_grouping_loss": False,
    }  # fmt: skip


def plain_layers():
    return [keras.layers.Flatten(), keras.layers.Dense(8)]


def test_a_sequential_model_must_know_its_input(data):
    unknown = keras.Sequential(plain_layers())
    told = keras.Sequential([keras.Input((16, 16, 3)), *plain_layers()])
    for wrong in (unknown, lambda images: images):
        with pytest.raises(ValueError, match=r"`model` must be .* that knows its input"):
            gfkeras.FaceClassifier(wrong, ArcFace(3))
        with pytest.raises(ValueError, match=r"`teacher` must be .* that knows its input"):
            gfkeras.FaceClassifier(told, ArcFace(3), CosineDistillationLoss(), teacher=wrong)
    called = keras.Sequential(plain_layers())
    called(data[0].astype("float32"))
    for model in (told, called):
        training = gfkeras.FaceClassifier(model, ArcFace(3))
        training.compile("sgd", run_eagerly=True)
        assert np.isfinite(training.fit(*data, verbose=0).history["loss"][0])
