"""The triplet loss and its mining."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from differentiation import finite_differences, value_and_gradients
from eager_and_compiled import EAGER_AND_COMPILED, few_on_jax, slow_on_jax
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from processes import run_python
from triplets import triplet_loss

from gfkeras.losses import TripletLoss
from gfkeras.losses.triplet_mining import SMALL_BATCH

ORACLES = Path(__file__).parents[1] / "oracles" / "tensorflow_addons.npz"
RULES = {
    "facenet": {},
    "hardest where no semi-hard": {"no_semi_hard": "hardest", "distance": "angular"},
    "easiest where no semi-hard": {"no_semi_hard": "easiest", "distance": "l2"},
    "semi-hard for the hardest positive": {"positives": "hardest", "distance": "angular"},
    "soft semi-hard": {"soft": True, "normalize": False},
    "hard": {"mining": "hard", "distance": "l2", "normalize": False},
    "batch hard": {"mining": "hard", "positives": "hardest", "distance": "angular"},
    "soft batch hard": {"mining": "hard", "positives": "hardest", "soft": True},
    "all": {"mining": "all", "margin": 0.7},
    "all, l2": {"mining": "all", "distance": "l2", "normalize": False},
    "all of the hardest positive": {"mining": "all", "positives": "hardest"},
    "soft all": {"mining": "all", "soft": True, "distance": "angular"},
}


def batch(count=12, dimensions=4, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).astype("int32")
    return labels, rng.normal(size=(count, dimensions)).astype("float32")


@EAGER_AND_COMPILED
@pytest.mark.parametrize("rule", few_on_jax(RULES, "facenet", "hard", "all", "soft all"))
def test_value_and_gradient(rule, compiled):
    labels, rows = batch()
    loss = TripletLoss(weight=1.5, **RULES[rule])
    value, (_, gradient) = value_and_gradients(loss, labels, rows, compiled=compiled)

    def oracle(labels, rows):
        return 1.5 * triplet_loss(labels, rows, **RULES[rule])

    assert oracle(labels, rows) > 0.01
    assert value == pytest.approx(oracle(labels, rows), rel=2e-6)
    right = finite_differences(oracle, labels, rows)[1]
    np.testing.assert_allclose(gradient, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "rule", few_on_jax(["facenet", "easiest where no semi-hard", "hard", "all"], "facenet")
)
def test_batch_above_the_small_ones(rule):
    """Tests many segments of negatives, both block sizes of positives, and XLA on TensorFlow."""
    labels, rows = batch(count=SMALL_BATCH + 6, classes=9)
    labels[:45] = 4
    value, (_, gradient) = value_and_gradients(
        TripletLoss(**RULES[rule]), labels, rows, compiled=True
    )
    assert value == pytest.approx(triplet_loss(labels, rows, **RULES[rule]), rel=1e-5)
    direction = np.random.default_rng(1).normal(size=rows.shape)

    def along(step):
        return triplet_loss(labels, rows + step * direction, **RULES[rule])

    slope = (along(1e-7) - along(-1e-7)) / 2e-7
    assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_two_anchors_by_hand():
    # Points on a line. 0 and 3 are one identity, and 1, 4.5 and 9 are three others.
    rows = np.array([[0.0], [3.0], [1.0], [4.5], [9.0]], "float32")
    labels = np.array([7, 7, 1, 2, 3], "int32")

    def value(**arguments):
        loss = TripletLoss(margin=2.0, distance="l2", normalize=False, **arguments)
        return float(loss(labels, rows))

    # For the anchor 0, the nearest negative farther than 3 is 4.5. For the anchor 3, the
    # negatives are at distances 2, 1.5 and 6, and the nearest one farther than 3 is 9.
    assert value() == pytest.approx((3 - 4.5 + 2 + 0) / 2)
    assert value(mining="hard") == pytest.approx((3 - 1 + 2 + 3 - 1.5 + 2) / 2)
    assert value(mining="all") == pytest.approx((4 + 0.5 + 0 + 3 + 3.5 + 0) / 6)


@pytest.mark.parametrize(
    ("no_semi_hard", "expected"), [("skip", 0.0), ("hardest", 4 - 1 + 1), ("easiest", 4 - 2 + 1)]
)
def test_pair_without_a_farther_negative(no_semi_hard, expected):
    """Without a farther negative, FaceNet skips a pair and tensorflow-addons takes the farthest."""
    rows = np.array([[0.0], [4.0], [1.0], [2.0]], "float32")
    labels = np.array([0, 0, 1, 2], "int32")
    loss = TripletLoss(1.0, distance="l2", normalize=False, no_semi_hard=no_semi_hard)
    # For the anchor 4, the negatives are at distances 3 and 2.
    other = {"skip": 0.0, "hardest": 4 - 2 + 1, "easiest": 4 - 3 + 1}[no_semi_hard]
    assert float(loss(labels, rows)) == pytest.approx((expected + other) / 2)


def test_skipped_pairs_count_in_the_mean():
    rows = np.array([[0.0], [4.0], [4.5], [-9.0]], "float32")
    labels = np.array([0, 0, 1, 1], "int32")
    rule = {"margin": 1.0, "distance": "l2", "normalize": False}
    value = float(TripletLoss(**rule)(labels, rows))
    # The anchor 0 costs 4 − 4.5 + 1. For the anchor 4, the negatives are at 0.5 and 13. For the
    # anchors 4.5 and −9, all negatives are nearer than the positive.
    assert value == pytest.approx(0.5 / 4)
    assert value == pytest.approx(triplet_loss(labels, rows, **rule))


KINDS = pytest.mark.parametrize(
    ("mining", "positives", "distance"),
    [
        ("semi-hard", "all", "l2"),
        ("hard", "all", "squared-l2"),
        ("hard", "hardest", "l2"),
        ("all", "all", "angular"),
    ],
)


@KINDS
@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ([0, 1, 2], np.eye(3)),  # no positive
        ([3], np.ones((1, 3))),  # a batch of one
        ([1, 1, 1], np.eye(3)),  # no negative
    ],
    ids=["no positive", "one image", "no negative"],
)
def test_no_triplet_costs_nothing(labels, rows, mining, positives, distance):
    loss = TripletLoss(mining=mining, distance=distance, positives=positives)
    value, (_, gradient) = value_and_gradients(
        loss, np.array(labels, "int32"), rows.astype("float32"), compiled=True
    )
    assert value == 0
    assert (gradient == 0).all()


@KINDS
def test_collapsed_embeddings_have_a_finite_gradient(mining, positives, distance):
    labels = np.array([0, 0, 1, 1, 2], "int32")
    loss = TripletLoss(
        0.3, mining=mining, distance=distance, positives=positives, no_semi_hard="hardest"
    )
    for rows in (np.ones((5, 4)), np.zeros((5, 4))):
        value, (_, gradient) = value_and_gradients(loss, labels, rows.astype("float32"))
        assert value == pytest.approx(0.3)
        np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_equal_distances_are_not_farther():
    # All distances are integers, so nothing is rounded.
    labels, rows = np.array([0, 0, 1, 2, 1, 0], "int32"), np.zeros((6, 2), "float32")
    rows[:, 0] = [0, 2, 2, 2, 5, 2]
    for no_semi_hard in ("skip", "hardest", "easiest"):
        rule = {"margin": 7.0, "normalize": False, "no_semi_hard": no_semi_hard}
        value = float(TripletLoss(**rule)(labels, rows))
        assert value == pytest.approx(triplet_loss(labels, rows, **rule), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    labels, rows = batch()
    half = ops.cast(rows, dtype)
    rounded = ops.convert_to_numpy(ops.cast(half, "float32"))
    value = TripletLoss()(labels, half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(triplet_loss(labels, rounded), rel=2e-6)


@slow_on_jax
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_order_rotation_names_and_scale_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    labels, rows = batch(seed=seed)
    loss = TripletLoss(0.5, mining="hard")
    expected = float(loss(labels, rows))
    order = rng.permutation(len(labels))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    other = (3.0 * rows @ turn).astype("float32")[order]
    assert float(loss(1000 - 7 * labels[order], other)) == pytest.approx(expected, abs=1e-5)


THEIRS = {"L2": ("l2", False, 1), "squared-L2": ("squared-l2", False, 1)}
# tensorflow-addons uses 1 − cos θ, half the squared distance of unit rows.
THEIRS["angular"] = ("squared-l2", True, 2)


def ours(kind, their_distance, margin=0.0):
    distance, normalize, factor = THEIRS[their_distance]
    loss = TripletLoss(
        factor * margin,
        mining="semi-hard" if kind == "semihard" else "hard",
        distance=distance,
        normalize=normalize,
        positives="all" if kind == "semihard" else "hardest",
        no_semi_hard="easiest",
        soft=kind == "soft-hard",
        weight=1 / factor,
    )
    return loss


# Cases in which every anchor has a triplet. tensorflow-addons also counts anchors without one.
COMPARED = [
    ("semihard", "random", "L2"),
    ("semihard", "random", "squared-L2"),
    ("semihard", "random", "angular"),
    ("semihard", "clustered", "squared-L2"),
    ("semihard", "identical_rows", "L2"),
    ("semihard", "one_image_class", "L2"),
    ("hard", "random", "L2"),
    ("hard", "random", "squared-L2"),
    ("hard", "random", "angular"),
    ("hard", "clustered", "L2"),
]


@slow_on_jax
@pytest.mark.parametrize(("kind", "case", "distance"), COMPARED)
def test_agrees_with_tensorflow_addons(kind, case, distance):
    oracles = np.load(ORACLES)
    arguments = oracles[f"{case}/labels"], oracles[f"{case}/embeddings"]
    for margin in (0.2, 1.0):
        key = f"{case}/{kind}/{distance}/margin{margin}"
        loss = ours(kind, distance, margin)
        if f"{key}/gradient" in oracles:
            value, (_, gradient) = value_and_gradients(loss, *arguments)
            np.testing.assert_allclose(gradient, oracles[f"{key}/gradient"], rtol=1e-5, atol=1e-5)
        else:
            value = float(loss(*arguments))
        np.testing.assert_allclose(value, oracles[key], rtol=1e-5, atol=1e-5)


@slow_on_jax
@pytest.mark.parametrize(
    ("case", "distance"), [("random", "L2"), ("random", "squared-L2"), ("clustered", "L2")]
)
def test_agrees_with_the_soft_loss_of_tensorflow_addons(case, distance):
    oracles = np.load(ORACLES)
    value = ours("soft-hard", distance)(oracles[f"{case}/labels"], oracles[f"{case}/embeddings"])
    np.testing.assert_allclose(
        float(value), oracles[f"{case}/soft-hard/{distance}"], rtol=1e-5, atol=1e-5
    )


@slow_on_jax
def test_differs_from_tensorflow_addons_where_documented():
    oracles = np.load(ORACLES)

    def both(case, kind):
        loss = ours(kind, "L2", 1.0)
        value = float(loss(oracles[f"{case}/labels"], oracles[f"{case}/embeddings"]))
        return value, float(oracles[f"{case}/{kind}/L2/margin1.0"])

    value, theirs = both("no_positive", "semihard")
    assert value == 0
    assert np.isnan(theirs)
    assert both("no_negative", "semihard")[0] == 0 < both("no_negative", "semihard")[1]
    # Two of nine anchors have no positive. tensorflow-addons counts them with a distance of 0.
    value, theirs = both("one_image_class", "hard")
    assert theirs != pytest.approx(value, rel=1e-3)


def test_soft_does_not_overflow():
    labels = np.array([0, 0, 1], "int32")
    rows = np.array([[0.0], [1e4], [1.0]], "float32")
    loss = TripletLoss(mining="hard", normalize=False, soft=True)
    value, (_, gradient) = value_and_gradients(loss, labels, rows)
    assert value == pytest.approx((1e8 - 1 + 1e8 - 9999.0**2) / 2, rel=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("mining", ["semi-hard", "hard", "all"])
def test_nan_is_not_hidden_in_a_compiled_step(mining):
    labels, rows = batch()
    for wrong in (np.nan, np.inf):
        rows[labels == labels[0], 0] = wrong
        value, _ = value_and_gradients(TripletLoss(mining=mining), labels, rows, compiled=True)
        assert np.isnan(value)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.function's signatures")
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_batch_size_known_only_when_run(jit_compile):
    import tensorflow as tf

    loss = TripletLoss(0.5)
    signature = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 4], tf.float32)]

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def step(labels, rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(labels, rows)
        return value, tape.gradient(value, rows)

    for count in (12, 40):
        labels, rows = batch(count)
        value, gradient = step(labels, rows)
        right, (_, right_gradient) = value_and_gradients(loss, labels, rows)
        np.testing.assert_allclose(value, right, rtol=1e-5)
        np.testing.assert_allclose(gradient, right_gradient, atol=1e-6)


TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
from gfkeras.losses import TripletLoss

labels, rows = (np.array(a) for a in eval(sys.argv[1]))
rows = rows.astype("float32")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
loss = TripletLoss()
with strategy.scope():
    table = tf.Variable(rows)

def half(array):
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(np.split(array, 2)[replica.replica_id_in_sync_group])
    )

@tf.function
def step(labels, places):
    with tf.GradientTape() as tape:
        value = loss(labels, tf.gather(table, places))
    gradient = tf.convert_to_tensor(tape.gradient(value, table))
    return value, tf.distribute.get_replica_context().all_reduce("SUM", gradient)

value, gradient = strategy.run(step, args=(half(labels), half(np.arange(len(rows)))))
print([float(v) for v in strategy.experimental_local_results(value)])
print(strategy.experimental_local_results(gradient)[0].numpy().tolist())
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute's replicas")
@pytest.mark.slow
@pytest.mark.slow
def test_two_replicas_compute_the_loss_of_the_global_batch():
    """Two replicas need a separate process, because a device is split before TensorFlow starts."""
    # The batch is larger than a small one, so XLA runs on both devices.
    labels, rows = batch(count=70, classes=8)
    assert len(labels) > SMALL_BATCH
    values, gradient = run_python(
        TWO_REPLICAS,
        repr((labels.tolist(), rows.tolist())),
        two_cpus=True,
        # This makes compiling faster, which both devices do.
        XLA_FLAGS="--xla_backend_optimization_level=0",
    )
    right, (_, right_gradient) = value_and_gradients(TripletLoss(), labels, rows)
    # Each replica returns its share of the sum.
    np.testing.assert_allclose(values, [right / 2, right / 2], rtol=1e-6)
    np.testing.assert_allclose(gradient, right_gradient, atol=1e-6)
    # With the triplets of each half, the loss would differ. So this test can fail.
    halves = [triplet_loss(labels[half], rows[half]) for half in np.split(np.arange(70), 2)]
    assert np.mean(halves) != pytest.approx(float(right), rel=1e-2)


def test_config():
    loss = TripletLoss(
        1.5, "hard", "l2", False, "hardest", "easiest", soft=True, weight=0.5, name="hard"
    )
    config = loss.get_config()
    assert TripletLoss.from_config(config).get_config() == config
    assert len(config) == 9


@pytest.mark.parametrize(
    "arguments",
    [
        {"margin": -0.1},
        {"margin": 4.1},
        {"margin": 2.1, "distance": "l2"},
        {"margin": 3.2, "distance": "angular"},
        {"margin": 3.2, "distance": "angular", "normalize": False},
        {"margin": float("inf"), "normalize": False},
        {"margin": float("nan"), "normalize": False},
        {"mining": "semihard"},
        {"distance": "cosine"},
        {"positives": "easiest"},
        {"no_semi_hard": "none"},
    ],
)
def test_wrong_arguments_are_named(arguments):
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        TripletLoss(**arguments)


def test_any_finite_margin_where_rows_have_any_length():
    assert TripletLoss(50.0, normalize=False).margin == 50


def test_wrong_inputs_are_named():
    labels, rows = batch()
    loss = TripletLoss()
    with pytest.raises(ValueError, match="`labels` must be integers"):
        loss(labels.astype("float32"), rows)
    with pytest.raises(ValueError, match="one entry per embedding"):
        loss(labels[1:], rows)
    with pytest.raises(ValueError, match="`embeddings` must have the shape"):
        loss(labels, rows[:, 0])
    rows[2, 1] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        loss(labels, rows)
