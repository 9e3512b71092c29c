"""FaceClassifier with further losses, with and without a head."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from eager_and_compiled import JAX, slow_on_jax
from keras import ops
from processes import run_python

import gfkeras
from gfkeras import heads, losses

IDENTITIES = 4


def network(dimensions=6, groups=False, seed=0):
    """Returns a small network from vectors to embeddings, since these tests need no backbone."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((5,))
    embedding = keras.layers.Dense(dimensions, activation="tanh", dtype="float32")(inputs)
    if not groups:
        return keras.Model(inputs, embedding)
    logits = keras.layers.Dense(3, dtype="float32")(inputs)
    return keras.Model(inputs, {"embedding": embedding, "group_logits": logits})


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    labels = np.arange(12, dtype="int32") % IDENTITIES
    people = rng.normal(size=(IDENTITIES, 5))
    return (people[labels] + 0.5 * rng.normal(size=(12, 5))).astype("float32"), labels


def steps(inputs, labels, number):
    """Returns the whole set `number` times, as batches of one epoch. More epochs take longer."""
    return np.tile(inputs, (number, 1)), np.tile(labels, number)


def make(name):
    # Semi-hard mining selects other triplets in each step, so its loss can rise.
    arguments = {"num_classes": IDENTITIES} if name == "CenterLoss" else {}
    arguments |= {"mining": "all"} if "Triplet" in name else {}
    return losses.get(name, **arguments)


def expected_value(loss, outputs, labels, head, taught):
    """Returns the value of the loss, called directly, with its weight."""
    known = {
        "labels": labels,
        "centers": ops.convert_to_tensor(head.centers),
        "teacher_embedding": taught,
        **outputs,
    }
    return float(loss(*(known[key] for key in loss.inputs)))


LOG_NAMES = {
    "CenterLoss": "center_loss",
    "ContrastiveLoss": "contrastive_loss",
    "CosineDistillationLoss": "cosine_distillation_loss",
    "HarmonicTripletLoss": "harmonic_triplet_loss",
    "InterLoss": "inter_loss",
    "IntraLoss": "intra_loss",
    "NPairsLoss": "npairs_loss",
    "RelationalDistillationLoss": "relational_distillation_loss",
    "SelfGroupingLoss": "self_grouping_loss",
    "TripletLoss": "triplet_loss",
}
# Every model with groups has these logs.
GROUP_LOGS = {"effective_groups", "effective_groups_soft"}


def test_every_loss_is_tested_here():
    assert set(LOG_NAMES) == set(losses.LOSSES)


@pytest.mark.parametrize(
    ("names", "policy"),
    [(tuple(LOG_NAMES), "float32"), (("CenterLoss", "TripletLoss", "InterLoss"), "mixed_float16")]
    # Training with all losses does not show that each one trains, but it tests the same code.
    + [pytest.param((name,), "float32", marks=pytest.mark.slow) for name in LOG_NAMES],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_losses_are_added_and_train(names, policy, data, dtype_policy):
    dtype_policy(policy)
    inputs, labels = data
    model, teacher = network(groups=True), network(seed=7)
    training = gfkeras.FaceClassifier(
        model, heads.ArcFace(IDENTITIES), [make(name) for name in names], teacher
    )
    training.compile(keras.optimizers.SGD(0.05))
    logs = training.evaluate(inputs, labels, batch_size=12, verbose=0, return_dict=True)
    log_names = [LOG_NAMES[name] for name in names]
    assert set(logs) == {"loss", "identity_loss", "accuracy", *log_names} | GROUP_LOGS
    assert logs["loss"] == pytest.approx(
        logs["identity_loss"] + sum(logs[name] for name in log_names), rel=1e-5, abs=1e-5
    )
    outputs = model(inputs)
    # In half precision, the compiled network rounds differently. The loss does not.
    rel = 1e-4 if policy == "float32" else 2e-2
    for loss, name in zip(training.extra_losses, log_names, strict=True):
        by_hand = expected_value(make_like(loss), outputs, labels, training.head, teacher(inputs))
        assert logs[name] == pytest.approx(by_hand, rel=rel, abs=1e-6), name
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    history = training.fit(inputs, labels, batch_size=12, epochs=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    assert any(
        np.abs(ops.convert_to_numpy(v) - b).max() > 1e-4
        for v, b in zip(model.trainable_variables, before, strict=True)
    )


def make_like(loss):
    return type(loss).from_config(loss.get_config())


# `test_losses_are_added_and_train` trains with each loss. Without a head, all use the same code.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n == "TripletLoss" else pytest.mark.slow)
        for n in LOG_NAMES
        if "centers" not in losses.LOSSES[n].inputs
    ],
)
def test_the_loss_trains_alone(name, data):
    inputs, labels = data
    model = network(groups=True)
    training = gfkeras.FaceClassifier(model, None, [make(name)], network(seed=7))
    training.compile(keras.optimizers.Adam(0.01))
    before = training.evaluate(inputs, labels, batch_size=12, verbose=0, return_dict=True)
    history = training.fit(
        *steps(inputs, labels, 20), batch_size=12, shuffle=False, verbose=0
    ).history
    assert set(history) == {"loss", LOG_NAMES[name]} | GROUP_LOGS
    # The group labels change during training, so the self-grouping loss can rise.
    after = training.evaluate(inputs, labels, batch_size=12, verbose=0, return_dict=True)
    assert after["loss"] < before["loss"] or name == "SelfGroupingLoss"


@slow_on_jax
def test_losses_are_summed_with_their_weights(data):
    inputs, labels = data
    extra = [
        losses.TripletLoss(weight=0.5),
        losses.IntraLoss(weight=2.0),
        losses.TripletLoss(mining="hard", weight=3.0),
    ]
    training = gfkeras.FaceClassifier(network(), heads.CosFace(IDENTITIES), extra)
    training.compile("sgd")
    logs = training.evaluate(inputs, labels, batch_size=12, verbose=0, return_dict=True)
    parts = [logs[key] for key in ("triplet_loss", "intra_loss", "triplet_loss_2")]
    assert logs["loss"] == pytest.approx(logs["identity_loss"] + sum(parts), rel=1e-5)
    unweighted = losses.TripletLoss()(labels, training.model(inputs))
    assert parts[0] == pytest.approx(0.5 * float(unweighted), rel=1e-4)


def test_keras_own_losses_are_taken_too(data):
    inputs, labels = data

    class Norm(keras.losses.Loss):
        """‖x‖² per row, labels unused."""

        def call(self, labels, embedding):
            return ops.sum(ops.square(embedding), axis=-1)

    training = gfkeras.FaceClassifier(network(), heads.ArcFace(IDENTITIES), Norm())
    training.compile("sgd")
    logs = training.evaluate(inputs, labels, batch_size=12, verbose=0, return_dict=True)
    embedding = ops.convert_to_numpy(training.model(inputs))
    assert logs["norm"] == pytest.approx((embedding**2).sum(axis=1).mean(), rel=1e-5)


def test_the_teacher_does_not_change(data, tmp_path):
    inputs, labels = data
    teacher = network(seed=7)
    before = [ops.convert_to_numpy(v) for v in teacher.variables]
    training = gfkeras.FaceClassifier(network(), None, losses.CosineDistillationLoss(), teacher)
    training.compile(keras.optimizers.Adam(0.05))
    training.fit(*steps(inputs, labels, 100), batch_size=12, shuffle=False, verbose=0)
    for variable, old in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), old)
    cosine = ops.sum(
        ops.normalize(training.model(inputs), axis=-1) * ops.normalize(teacher(inputs), axis=-1), -1
    )
    assert float(ops.min(cosine)) > 0.9, "the student follows it"
    training.save(tmp_path / "training.keras")
    twin = keras.saving.load_model(tmp_path / "training.keras")
    a = training.evaluate(inputs, labels, verbose=0, return_dict=True)
    b = twin.evaluate(inputs, labels, verbose=0, return_dict=True)
    assert a == pytest.approx(b, rel=1e-5)
    assert not twin.teacher.trainable_variables


def test_center_loss_moves_its_centers_in_training_only(data):
    inputs, labels = data
    loss = losses.CenterLoss(IDENTITIES, weight=0.01)
    training = gfkeras.FaceClassifier(network(), heads.ArcFace(IDENTITIES), [loss])
    training.compile(keras.optimizers.SGD(0.0))
    training.evaluate(inputs, labels, batch_size=12, verbose=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(loss.centers), 0)
    training.fit(inputs, labels, batch_size=12, verbose=0)
    embedding = ops.convert_to_numpy(training.model(inputs)).astype("float64")
    for identity in range(IDENTITIES):
        rows = embedding[labels == identity]
        expected = 0.5 * rows.sum(axis=0) / (1 + len(rows))
        np.testing.assert_allclose(
            ops.convert_to_numpy(loss.centers)[identity], expected, atol=1e-5
        )


# Heads with state or with their own kind of centers. tests/heads compares the formulas of all.
QUICK_HEADS = {"PartialFC", "SphereFace"} | (set() if JAX else {"AdaFace", "SubCenterArcFace"})


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK_HEADS else pytest.mark.slow) for n in heads.HEADS],
)
def test_every_head_trains(name, data):
    inputs, labels = data
    arguments = {"batch_size": 12} if name == "PartialFC" else {}
    head = heads.get(name, num_classes=IDENTITIES, **arguments)
    training = gfkeras.FaceClassifier(network(), head)
    training.compile(keras.optimizers.Adam(0.02))
    before = training.evaluate(inputs, labels, batch_size=12, verbose=0, return_dict=True)
    training.fit(*steps(inputs, labels, 60), batch_size=12, shuffle=False, verbose=0)
    after = training.evaluate(inputs, labels, batch_size=12, verbose=0, return_dict=True)
    assert after["loss"] < before["loss"]
    assert after["accuracy"] >= 0.75
    if name == "SphereFace":
        assert float(training.head.iteration) == 60


def test_magface_regularization_is_in_the_loss(data):
    inputs, labels = data
    training = gfkeras.FaceClassifier(network(), heads.MagFace(IDENTITIES))
    training.compile("sgd")
    logs = training.evaluate(inputs, labels, batch_size=12, verbose=0, return_dict=True)
    expected = float(training.head.regularization(training.model(inputs)))
    assert logs["loss"] - logs["identity_loss"] == pytest.approx(expected, rel=1e-4)


def test_what_a_loss_lacks_is_named():
    with pytest.raises(ValueError, match="`extra_losses` IntraLoss needs the centers of a `head`"):
        gfkeras.FaceClassifier(network(), None, losses.IntraLoss())
    with pytest.raises(ValueError, match="InterLoss needs a head with one center per identity"):
        gfkeras.FaceClassifier(network(), heads.SubCenterArcFace(2), losses.InterLoss())
    with pytest.raises(ValueError, match="CosineDistillationLoss needs a `teacher`"):
        gfkeras.FaceClassifier(network(), heads.ArcFace(2), losses.CosineDistillationLoss())
    with pytest.raises(ValueError, match="`head` or `extra_losses` must be given"):
        gfkeras.FaceClassifier(network())


def test_float_labels_are_refused_without_a_head(data):
    inputs, labels = data
    training = gfkeras.FaceClassifier(network(), None, losses.TripletLoss())
    training.compile("sgd")
    with pytest.raises(ValueError, match="`labels` must be integers"):
        training.fit(inputs, labels.astype("float32"), verbose=0)


def test_triplet_loss_in_the_users_own_compile_and_fit(data):
    inputs, labels = data
    model = network()
    loss = losses.TripletLoss(mining="all")
    model.compile(keras.optimizers.Adam(0.01), loss)
    before = model.evaluate(inputs, labels, batch_size=12, verbose=0)
    assert before == pytest.approx(float(loss(labels, model(inputs))), rel=1e-4)
    model.fit(*steps(inputs, labels, 40), batch_size=12, shuffle=False, verbose=0)
    assert model.evaluate(inputs, labels, batch_size=12, verbose=0) < before
    weighted = network()
    weighted.compile("sgd", loss)
    with pytest.raises(ValueError, match="TripletLoss is a loss of the whole batch"):
        weighted.fit(inputs, labels, sample_weight=np.ones(12), batch_size=12, verbose=0)


TWO_REPLICAS = """
import keras
import numpy as np
import tensorflow as tf
import gfkeras
from gfkeras import heads, losses

rng = np.random.default_rng(1)
labels = np.repeat(np.arange(4), 4).astype("int32")
inputs = (rng.normal(size=(16, 5)) + 0.5 * labels[:, None]).astype("float32")

def network(seed):
    keras.utils.set_random_seed(seed)
    x = keras.Input((5,))
    return keras.Model(x, keras.layers.Dense(6, activation="tanh")(x))

def made():
    training = gfkeras.FaceClassifier(
        network(0),
        heads.AdaFace(4),
        [
            losses.TripletLoss(mining="hard", weight=0.7),
            losses.CenterLoss(4, weight=0.5),
            losses.IntraLoss(weight=0.3),
            losses.InterLoss(weight=0.2),
            losses.HarmonicTripletLoss(weight=0.4),
            losses.RelationalDistillationLoss(weight=0.6),
        ],
        network(7),
    )
    training.compile(keras.optimizers.SGD(0.05))
    return training

for names in (["CPU:0"], ["CPU:0", "CPU:1"]):
    with tf.distribute.MirroredStrategy(names).scope():
        training = made()
    history = training.fit(inputs, labels, batch_size=16, epochs=3, shuffle=False, verbose=0)
    print([np.asarray(v.value.numpy() if hasattr(v.value, "numpy") else v).ravel().tolist()
           for v in training.trainable_variables])
    print([v.numpy().ravel().tolist() for v in training.non_trainable_variables
           if "seed" not in v.path])
    print(history.history)
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute's replicas")
@pytest.mark.slow
def test_two_replicas_train_as_one():
    """Three steps of `fit` give equal weights, states and logs on one replica and on two."""
    printed = run_python(TWO_REPLICAS, two_cpus=True)
    found = printed[:3], printed[3:]
    for one, two in zip(found[0][:2], found[1][:2], strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    for key, values in found[0][2].items():
        np.testing.assert_allclose(values, found[1][2][key], rtol=2e-4, atol=2e-5, err_msg=key)
