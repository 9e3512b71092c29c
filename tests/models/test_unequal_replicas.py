"""Batches divided unevenly over replicas give the steps, states and logs of one device."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from processes import run_python

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute's replicas"
)

GRADIENTS = """
import sys
import keras, numpy as np, tensorflow as tf
from gfkeras import heads, losses
from gfkeras.losses.embedding_loss import softmax_cross_entropy
from gfkeras.layers.replica import share_of_mean

rng = np.random.default_rng(0)
rows = rng.normal(size=(7, 5)).astype("float32")
taught = rng.normal(size=(7, 5)).astype("float32")
labels = np.array([0, 1, 0, 2, 1, 2, 0], "int32")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
HEADS = {
    "Softmax": {}, "NormSoftmax": {}, "ArcFace": {}, "CurricularFace": {}, "AdaFace": {},
    "MagFace": {"regularization_weight": 5.0},
}
LOSSES = {
    "SelfGroupingLoss": {}, "SelfGroupingLoss ema": {"expectation": "ema"},
    "CenterLoss": {"num_classes": 3, "weight": 1.0}, "IntraLoss": {},
    "TripletLoss": {}, "NPairsLoss": {}, "ContrastiveLoss": {}, "HarmonicTripletLoss": {},
    "CosineDistillationLoss": {}, "RelationalDistillationLoss": {},
}

def loss_of(name, arguments, counts):
    keras.utils.set_random_seed(0)
    replicas = len(counts)
    with strategy.scope() if replicas > 1 else tf.init_scope():
        if name in HEADS:
            scale = {} if name == "Softmax" else {"scale": 8.0}
            each = getattr(heads, name)(3, **scale, **arguments)
        else:
            each = losses.get(name.split()[0], **arguments)
        if name in HEADS:
            each.build((None, 5))
            each.centers.assign(taught[:3])
        elif isinstance(each, keras.layers.Layer):
            each.build(*[{"labels": (None,)}.get(key, (None, 5)) for key in each.inputs])
        table = tf.Variable(rows)

    def value_of(index):
        x, y = tf.gather(table, index), tf.gather(labels, index)
        if name in HEADS:
            logits = each.labelled_logits(x, y, training=True)
            value = share_of_mean(softmax_cross_entropy(logits.margin, logits.labels))
            return value + each.regularization(x)
        known = {"labels": y, "embedding": x, "group_logits": x,
                 "teacher_embedding": tf.gather(taught, index), "centers": tf.constant(taught[:3])}
        values = [known[key] for key in each.inputs]
        if isinstance(each, keras.layers.Layer):
            return each(*values, training=True)
        return each.call(*values)

    @tf.function(autograph=False)
    def step(bounds):
        index = tf.range(bounds[0], bounds[1])
        with tf.GradientTape() as tape:
            value = value_of(index)
        gradient = tf.convert_to_tensor(tape.gradient(value, table))
        context = tf.distribute.get_replica_context()
        value, gradient = context.all_reduce("MEAN", [value, gradient])
        return value, gradient

    ends = np.cumsum(counts)
    parts = [tf.constant([end - count, end], tf.int32) for end, count in zip(ends, counts)]
    if replicas == 1:
        found = step(parts[0])
    else:
        bounds = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group])
        found = [strategy.experimental_local_results(part)[0]
                 for part in strategy.run(step, args=(bounds,))]
    state = [np.asarray(v).ravel().tolist() for v in getattr(each, "non_trainable_variables", [])
             if "seed" not in v.path]
    return np.asarray(found[0]), np.asarray(found[1]), state

wanted = sys.argv[1].split(",")
for name, arguments in {**HEADS, **LOSSES}.items():
    if name.split()[0] not in wanted:
        continue
    value, gradient, state = loss_of(name, arguments, [7])
    worst = 0.0
    for counts in ([6, 1], [7, 0]):
        other = loss_of(name, arguments, counts)
        worst = max(
            worst, abs(float(other[0] - value)), np.abs(other[1] - gradient).max(),
            *(np.abs(np.subtract(a, b)).max() for a, b in zip(other[2], state, strict=True)))
    print([name, float(np.abs(gradient).max()), float(worst)])
"""


# One for each kind of mean: over rows, with a state, over the batch's norms, and over pairs.
QUICK = [
    "CurricularFace", "AdaFace", "MagFace", "SelfGroupingLoss", "CenterLoss", "NPairsLoss",
    "ContrastiveLoss",
]  # fmt: skip
SLOW = [
    "NormSoftmax", "ArcFace", "IntraLoss", "TripletLoss", "HarmonicTripletLoss", "Softmax",
    "CosineDistillationLoss", "RelationalDistillationLoss",
]  # fmt: skip


@needs_tensorflow
@pytest.mark.parametrize("names", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_two_replicas_have_the_gradient_of_one_device(names):
    """Compares value, gradient and state of each head and loss for 6 + 1 and 7 + 0 rows."""
    found = run_python(GRADIENTS, ",".join(names), two_cpus=True)
    assert {name.split()[0] for name, _, _ in found} == set(names)
    for name, gradient, worst in found:
        assert gradient > 1e-3, name
        assert worst < 2e-6 * max(1, gradient), (name, gradient, worst)


FIT = """
import contextlib, sys
import keras, numpy as np, tensorflow as tf
import gfkeras
from keras import layers

def network(stock):
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False)(layers.Rescaling(1 / 127.5, -1)(images))
    x = (layers if stock else gfkeras.layers).BatchNormalization()(x)
    return keras.Model(images, layers.Dense(6)(layers.Flatten()(layers.ReLU()(x))))

def made(scope, stock):
    with scope:
        keras.utils.set_random_seed(0)
        model = gfkeras.FaceClassifier(
            network(stock), gfkeras.heads.CurricularFace(3, scale=8.0),
            [gfkeras.losses.CenterLoss(3, weight=0.1)])
        model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return model

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (11, 8, 8, 3)).astype("uint8")
labels = rng.integers(0, 3, 11).astype("int32")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for count, batch, stock in eval(sys.argv[1]):
    runs = []
    for scope in (contextlib.nullcontext(), strategy.scope()):
        model = made(scope, stock)
        data = (images[:count], labels[:count])
        if count == 11:
            data = (tf.data.Dataset.from_tensor_slices(data).batch(batch),)
            sizes = {}
        else:
            sizes = {"batch_size": batch, "shuffle": False}
        logs = model.fit(*data, **sizes, epochs=2, verbose=0).history
        checked = model.evaluate(images[:count], labels[:count], batch_size=batch, verbose=0)
        predicted = model.predict(images[:count], batch_size=batch, verbose=0)["embedding"]
        state = [np.asarray(v) for v in model.trainable_variables + model.non_trainable_variables
                 if "seed" not in v.path]
        runs.append((state, logs["identity_loss"], checked, predicted))
    one, two = runs
    apart = max(float(np.abs(a - b).max()) for a, b in zip(one[0], two[0], strict=True))
    print([count, batch, apart, one[1], two[1], one[2], two[2],
           float(np.abs(one[3] - two[3]).max()), bool(np.isfinite(two[3]).all())])
"""


QUICK_FITS = (7, 4, False), (5, 4, True)
SLOW_FITS = (3, 4, False), (1, 4, False), (11, 6, True)


@needs_tensorflow
@pytest.mark.parametrize("fits", [QUICK_FITS, pytest.param(SLOW_FITS, marks=pytest.mark.slow)])
def test_fit_with_a_last_batch_that_replicas_cannot_share(fits):
    """Compares weights and states, also with stock layers and with fewer images than replicas."""
    for count, batch, apart, one, two, checked, replicas, predicted, finite in run_python(
        FIT, repr(fits), two_cpus=True
    ):
        case = f"{count} images in batches of {batch}"
        assert finite, case
        assert apart < 1e-5, case
        assert predicted < 1e-4, case
        np.testing.assert_allclose(replicas, checked, rtol=1e-4, err_msg=case)
        np.testing.assert_allclose(two, one, rtol=1e-4, err_msg=case)


DOUBLE = """
import contextlib
import keras, numpy as np, tensorflow as tf
import gfkeras
from keras import layers, ops
from gfkeras.layers.replica import global_batch, global_mean, share_of_mean

keras.config.set_floatx("float64")
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (7, 8, 8, 3)).astype("uint8")
labels = np.array([0, 1, 0, 2, 1, 2, 0], "int32")
targets = rng.normal(size=(3, 6))
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

class OfRows(keras.losses.Loss):
    inputs = ("labels", "embedding")
    def call(self, labels, embedding):
        return ops.sum(ops.square(embedding - tf.gather(targets, labels)), axis=-1)

class OfPairs(keras.losses.Loss):
    # Every replica computes it of the whole batch.
    inputs = ("embedding",)
    def call(self, embedding):
        rows = global_batch(embedding)
        spread = ops.mean(ops.square(rows[:, None] - rows[None]))
        return 0.01 * ops.log(1.0 + spread) + 0.1 * ops.sum(ops.square(global_mean(embedding)))

def network(kind):
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False)(layers.Rescaling(1 / 127.5, -1)(images))
    x = kind.BatchNormalization(momentum=0.5)(x)
    return keras.Model(images, layers.Dense(6)(layers.Flatten()(ops.tanh(x))))

for kind, skip, count in ((layers, False, 7), (gfkeras.layers, True, 5)):
    runs = []
    for scope in (contextlib.nullcontext(), strategy.scope()):
        with scope:
            keras.utils.set_random_seed(0)
            training = gfkeras.FaceClassifier(network(kind), None, [OfRows(), OfPairs()])
            sgd = keras.optimizers.SGD(0.01, momentum=0.9)
            training.compile(sgd, jit_compile=False, skip_nonfinite=skip)
        first = [np.array(v) for v in training.trainable_variables]
        training.fit(images[:count], labels[:count], batch_size=4, shuffle=False, verbose=0)
        variables = training.trainable_variables + training.non_trainable_variables
        runs.append([np.asarray(v) for v in variables + sgd.variables[2:]])
    moved = max(float(np.abs(a - b).max()) for a, b in zip(first, runs[0], strict=False))
    apart = max(float(np.abs(a - b).max()) for a, b in zip(*runs, strict=True))
    print([sorted({v.dtype.name for v in runs[0]}), moved, apart])
"""


@needs_tensorflow
def test_two_replicas_are_one_device_to_the_last_bits_of_float64():
    """Weights, statistics and momentum after batches of 2 + 2, then 2 + 1 and 1 + 0 images.

    Heads and losses of gfkeras always compute in float32. A user's losses replace them here, so
    everything else is float64: network, synchronized statistics, shares of the loss, gradients,
    their sum and the update.
    """
    found = run_python(DOUBLE, two_cpus=True)
    assert len(found) == 2
    for types, moved, apart in found:
        assert types == ["float64"]
        assert moved > 1e-3
        assert apart < 1e-12
