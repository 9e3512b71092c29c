"""Optimizers on the rows of PartialFC: only these rows change, and they equal NumPy's result."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from differentiation import layer_value_and_gradients
from keras import ops
from processes import run_python
from sgd_oracle import DECAY, MOMENTUM, RATE, sgd_oracle, values

import gfkeras
from gfkeras import heads, losses
from gfkeras.heads import PartialFC
from gfkeras.layers import rows as rows_module
from gfkeras.losses import softmax_cross_entropy
from gfkeras.training.optimizers import SGD, Adam, AdamW

JAX = keras.backend.backend() == "jax"
N, R, D = 40, 9, 5


class Rows(keras.layers.Layer):
    """A bias and a table with rows that `PartialFC` would draw."""

    def __init__(self):
        super().__init__()
        self.bias = self.add_weight(name="bias", shape=(4,), initializer="ones")
        head = PartialFC(N, R / N)
        head.build((None, D))
        head.centers.assign(np.random.default_rng(0).normal(size=(N, D)))
        self.head = head


def steps(count, seed=0):
    """Yields (gradient of the bias, index, gradient of the rows) of some steps."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        index = np.sort(rng.choice(N, R, replace=False))
        yield (
            rng.normal(size=4).astype("float32"),
            index,
            rng.normal(size=(R, D)).astype("float32"),
        )


def apply(optimizer, layer, bias, index, by_rows):
    """Calls `apply` once with the gradients in the form of each backend."""
    known = {
        id(layer.bias): bias,
        id(layer.head.row_gradient): by_rows,
        id(layer.head.row_index): index.astype("float32"),
        id(layer.head.centers): np.zeros((N, D), "float32") if JAX else None,
    }
    variables = layer.trainable_variables
    gradients = [known[id(v)] for v in variables]
    gradients = [None if g is None else ops.convert_to_tensor(g) for g in gradients]
    if not JAX:
        optimizer.apply(gradients, variables)
        return
    if not optimizer.built:
        optimizer.build(variables)
    both = variables, optimizer.variables
    given = [[v.value for v in some] for some in both]
    after = optimizer.stateless_apply(given[1], gradients, given[0])
    for some, new in zip(both, after, strict=True):
        for variable, value in zip(some, new, strict=True):
            variable.assign(value)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("part", [4, 1024])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("mode", ["decoupled", "l2"])
def test_sgd_updates_the_drawn_rows_and_no_others(mode, nesterov, part, monkeypatch):
    monkeypatch.setattr(rows_module, "MIN_PART", part)
    layer = Rows()
    optimizer = SGD(RATE, MOMENTUM, nesterov, weight_decay=DECAY, weight_decay_mode=mode)
    w, m = values(layer.head.centers).astype("float64"), np.zeros((N, D))
    bias, bias_m = np.ones(4), np.zeros(4)
    optimizer.build(layer.trainable_variables)
    (momentum,) = [v for v in optimizer.variables if tuple(v.shape) == (N, D)]
    assert not [v for v in optimizer.variables if R in v.shape], "no slots for the gradient"
    for by_bias, index, by_rows in steps(6):
        before = values(layer.head.centers), values(momentum)
        apply(optimizer, layer, by_bias, index, by_rows)
        w[index], m[index] = sgd_oracle(w[index], m[index], by_rows, mode, DECAY, nesterov)
        bias, bias_m = sgd_oracle(bias, bias_m, by_bias, None, 0, nesterov)
        rest = np.setdiff1d(np.arange(N), index)
        for variable, earlier in zip((layer.head.centers, momentum), before, strict=True):
            np.testing.assert_array_equal(values(variable)[rest], earlier[rest])
        np.testing.assert_allclose(values(layer.head.centers), w, atol=1e-6)
        np.testing.assert_allclose(values(momentum), m, atol=1e-6)
    np.testing.assert_allclose(values(layer.bias), bias, atol=1e-6)
    assert not values(layer.head.row_gradient).any()


@pytest.mark.parametrize("make", [Adam, AdamW, SGD])
def test_rows_that_are_always_drawn_are_updated_as_a_dense_variable(make):
    """The twin is Keras' own optimizer with these rows as a variable."""
    layer, index = Rows(), np.arange(3, 3 + R)
    ours = make(0.01, weight_decay=0.1)
    twin = keras.Variable(values(layer.head.centers)[index])
    peer = getattr(keras.optimizers, make.__name__)(0.01, weight_decay=0.1)
    for _, _, by_rows in steps(5):
        apply(ours, layer, np.zeros(4, "float32"), index, by_rows)
        peer.apply([ops.convert_to_tensor(by_rows)], [twin])
    np.testing.assert_allclose(values(layer.head.centers)[index], values(twin), atol=1e-6)


@pytest.mark.parametrize(
    ("clip", "factor"),
    [
        ({"clipnorm": 1.0}, lambda bias, rows: 1 / np.linalg.norm(rows)),
        ({"global_clipnorm": 1.0}, lambda *both: 1 / np.hypot(*map(np.linalg.norm, both))),
        ({"clipvalue": 0.5}, lambda bias, rows: np.clip(rows, -0.5, 0.5) / rows),
    ],
    ids=["clipnorm", "global_clipnorm", "clipvalue"],
)  # fmt: skip
def test_rows_are_clipped_before_l2_decay_is_added(clip, factor):
    layer = Rows()
    optimizer = SGD(RATE, weight_decay=DECAY, weight_decay_mode="l2", **clip)
    bias, index, by_rows = next(steps(1))
    before = values(layer.head.centers)[index]
    apply(optimizer, layer, bias, index, by_rows)
    gradient = factor(bias.astype("float64"), by_rows.astype("float64")) * by_rows
    expected = before - RATE * (gradient + DECAY * before)
    np.testing.assert_allclose(values(layer.head.centers)[index], expected, atol=1e-6)


def test_a_step_that_loss_scaling_skips_changes_nothing():
    layer = Rows()
    inner = SGD(RATE, MOMENTUM, weight_decay=DECAY)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    plain = Rows()
    peer = SGD(RATE, MOMENTUM, weight_decay=DECAY)
    for number, (bias, index, by_rows) in enumerate(steps(3)):
        scaled = by_rows * float(optimizer.dynamic_scale if optimizer.built else 8.0)
        before = [values(v) for v in layer.trainable_variables]
        bad = scaled.copy()
        bad[0, 0] = np.inf if number == 1 else bad[0, 0]
        apply(optimizer, layer, bias * 0, index, bad)
        if number == 1:
            for variable, earlier in zip(layer.trainable_variables, before, strict=True):
                np.testing.assert_array_equal(values(variable), earlier)
            continue
        apply(peer, plain, bias * 0, index, by_rows)
        np.testing.assert_allclose(
            values(layer.head.centers), values(plain.head.centers), atol=1e-6
        )


def classifier(head, optimizer, seed=0):
    """Builds a model that returns its input as the embedding, so only the centers train."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((D,))
    dense = keras.layers.Dense(D, kernel_initializer="identity", use_bias=False)
    model = keras.Model(inputs, dense(inputs))
    training = gfkeras.FaceClassifier(model, head)
    training.compile(optimizer)
    return training


def batches(count, size=8):
    rng = np.random.default_rng(7)
    return [
        (rng.normal(size=(size, D)).astype("float32"), rng.integers(0, N, size).astype("int32"))
        for _ in range(count)
    ]


@pytest.mark.filterwarnings("error::UserWarning")
def test_fit_equals_the_oracle_step_by_step():
    """The oracle uses the plain head on the drawn centers and updates these rows in float64."""
    head = PartialFC(N, 0.4, head="CosFace", head_arguments={"scale": 8.0})
    training = classifier(head, SGD(RATE, MOMENTUM, weight_decay=DECAY, weight_decay_mode="l2"))
    training.model.trainable = False
    training.compile(SGD(RATE, MOMENTUM, weight_decay=DECAY, weight_decay_mode="l2"))
    w, m = values(head.centers).astype("float64"), np.zeros((N, D))
    for images, labels in batches(4):
        training.fit(images, labels, batch_size=8, verbose=0)
        index = values(head.row_index).astype(int)
        plain = heads.CosFace(len(index), scale=8.0)
        plain.build((None, D))
        plain.centers.assign(w[index])
        columns = np.searchsorted(index, labels).astype("int32")
        _, _, (gradient,) = layer_value_and_gradients(
            plain,
            lambda logits, columns=columns: ops.mean(softmax_cross_entropy(logits, columns)),
            images,
            columns,
        )
        w[index], m[index] = sgd_oracle(w[index], m[index], gradient, "l2", DECAY, False)
        np.testing.assert_allclose(values(head.centers), w, atol=1e-5)


def test_r_of_one_trains_as_the_full_head():
    found = []
    for head in (PartialFC(N, 1.0), heads.ArcFace(N)):
        training = classifier(head, SGD(RATE, MOMENTUM, weight_decay=DECAY))
        for images, labels in batches(3):
            training.fit(images, labels, batch_size=8, verbose=0)
        found.append([values(v) for v in training.trainable_variables])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_accuracy_and_loss_of_evaluate_are_over_all_classes():
    training = classifier(PartialFC(N, 0.4), SGD(RATE))
    (images, labels), *_ = batches(1)
    full = classifier(heads.ArcFace(N), SGD(RATE))
    full.head.centers.assign(values(training.head.centers))
    logs = [t.evaluate(images, labels, verbose=0, return_dict=True) for t in (training, full)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)


def test_a_saved_training_continues_to_the_same_weights(tmp_path):
    data = batches(5)

    def run(training, some):
        for images, labels in some:
            training.fit(images, labels, batch_size=8, verbose=0)
        return training

    whole = run(classifier(PartialFC(N, 0.4), SGD(RATE, MOMENTUM, weight_decay=DECAY)), data)
    part = run(classifier(PartialFC(N, 0.4), SGD(RATE, MOMENTUM, weight_decay=DECAY)), data[:2])
    part.save(tmp_path / "training.keras")
    again = run(keras.saving.load_model(tmp_path / "training.keras"), data[2:])
    assert float(again.head.step) == 5
    np.testing.assert_array_equal(values(again.head.centers), values(whole.head.centers))


def test_half_precision_with_loss_scaling_trains_rows_only(dtype_policy):
    dtype_policy("mixed_float16")
    training = classifier(PartialFC(N, 0.4), SGD(RATE, MOMENTUM))
    assert isinstance(training.optimizer, keras.optimizers.LossScaleOptimizer)
    scaled = keras.optimizers.LossScaleOptimizer(SGD(RATE, MOMENTUM), initial_scale=64.0)
    training = classifier(PartialFC(N, 0.4), scaled)
    (images, labels), *_ = batches(1)
    before = values(training.head.centers)
    for _ in range(3):
        training.fit(images, labels, batch_size=8, verbose=0)
    changed = (values(training.head.centers) != before).any(axis=1)
    assert changed[np.unique(labels)].all()
    assert not changed.all()
    assert np.isfinite(values(training.head.centers)).all()


def tensorflow_shapes(training, data):
    """Returns the shapes of the outputs of each operation in a compiled step."""
    import tensorflow as tf

    function = tf.function(training.train_step).get_concrete_function(tuple(map(tf.constant, data)))
    found = []
    for graph in [function.graph, *(f.graph for f in function.graph._functions.values())]:
        for operation in graph.get_operations():
            found += [
                (operation.type, tuple(output.shape.as_list()))
                for output in operation.outputs
                if output.shape.rank is not None
            ]
    return found


@pytest.mark.skipif(JAX, reason="reads TensorFlow's graph")
def test_no_array_of_the_centers_size_in_a_tensorflow_step():
    (data,) = batches(1)
    whole = (N, D)
    partial = classifier(PartialFC(N, 0.4), SGD(RATE, MOMENTUM, weight_decay=DECAY))
    assert not [found for found in tensorflow_shapes(partial, data) if found[1] == whole]
    full = classifier(heads.ArcFace(N), SGD(RATE, MOMENTUM, weight_decay=DECAY))
    assert [found for found in tensorflow_shapes(full, data) if found[1] == whole]


@pytest.mark.skipif(not JAX, reason="reads XLA's memory plan")
def test_no_array_of_the_centers_size_in_a_jax_step():
    """With 20,000 centers, the temporary arrays of a step are smaller than the centers.

    With the full head, they are larger.
    """
    import jax

    taken = {}
    many, dimensions = 20_000, 32
    for name, head in (("partial", PartialFC(many, 0.02)), ("full", heads.ArcFace(many))):
        inputs = keras.Input((dimensions,))
        model = keras.Model(inputs, keras.layers.Dense(dimensions)(inputs))
        training = gfkeras.FaceClassifier(model, head)
        training.compile(SGD(RATE, MOMENTUM, weight_decay=DECAY))
        training.optimizer.build(training.trainable_variables)
        state = tuple(
            [v.value for v in variables]
            for variables in (
                training.trainable_variables,
                training.non_trainable_variables,
                training.optimizer.variables,
                training.metrics_variables,
            )
        )
        data = (np.zeros((8, dimensions), "float32"), np.arange(8, dtype="int32"))
        step = jax.jit(training.train_step, donate_argnums=0)
        plan = step.lower(state, data).compile().memory_analysis()
        taken[name] = plan.temp_size_in_bytes / (4 * many * dimensions)
    assert taken["partial"] < 0.5
    assert taken["full"] > 1


def test_optimizers_that_cannot_train_sampled_rows_are_named():
    head = PartialFC(N, 0.4)
    with pytest.raises(ValueError, match=r"`optimizer`.*gfkeras.training.optimizers, with Partial"):
        classifier(head, keras.optimizers.SGD(RATE))
    with pytest.raises(ValueError, match="`optimizer` must be one that updates sampled centers"):
        classifier(PartialFC(N, 0.4), "adam")
    inputs = keras.Input((D,))
    with pytest.raises(ValueError, match=r"IntraLoss takes all centers.*16 of 40 classes"):
        gfkeras.FaceClassifier(
            keras.Model(inputs, keras.layers.Dense(D)(inputs)),
            PartialFC(N, 0.4),
            losses.IntraLoss(),
        )
    for argument in ({"gradient_accumulation_steps": 2}, {"use_ema": True}):
        (name,) = argument
        with pytest.raises(ValueError, match=f"`{name}` must be .* with PartialFC"):
            SGD(RATE, **argument).build(Rows().trainable_variables)
    with pytest.raises(ValueError, match="`amsgrad` must be False with PartialFC"):
        apply(Adam(RATE, amsgrad=True), Rows(), *next(steps(1)))
    with pytest.raises(ValueError, match=r"`weight_decay_mode` must be one of .*did you mean 'l2'"):
        SGD(RATE, weight_decay_mode="L2")
    with pytest.raises(ValueError, match="`weight_decay` must be"):
        SGD(RATE, weight_decay=-1.0)


TWO_REPLICAS = """
import sys
import keras
import numpy as np
import tensorflow as tf
import gfkeras
from gfkeras.heads import PartialFC
from gfkeras.training.optimizers import SGD

N, D = 40, 5
rng = np.random.default_rng(7)
images = rng.normal(size=(48, D)).astype("float32")
labels = rng.integers(0, N, 48).astype("int32")
scale = float(sys.argv[1])
if scale:
    keras.config.set_dtype_policy("mixed_float16")
for names in (["CPU:0"], ["CPU:0", "CPU:1"]):
    with tf.distribute.MirroredStrategy(names).scope():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((D,))
        model = keras.Model(inputs, keras.layers.Dense(D)(inputs))
        head = PartialFC(N, 0.6, head="AdaFace", head_arguments={"scale": 16.0})
        training = gfkeras.FaceClassifier(model, head)
        optimizer = SGD(
            0.05, 0.9, weight_decay=0.02, weight_decay_mode="l2", global_clipnorm=5.0
        )
        if scale:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=scale)
        training.compile(optimizer)
    history = training.fit(images, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
    replicas = training.head.centers.value.values
    print([v.numpy().tolist() for v in replicas])
    print(training.head.row_index.value.numpy().astype(int).tolist())
    print(history.history["loss"])
"""


@pytest.mark.skipif(JAX, reason="tf.distribute's replicas")
@pytest.mark.parametrize(
    "loss_scale",
    [
        pytest.param(0, id="float32"),
        pytest.param(64, id="mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_two_replicas_draw_and_update_as_one(loss_scale):
    ones, index, loss, twos, other_index, other_loss = run_python(
        TWO_REPLICAS, str(loss_scale), two_cpus=True
    )
    assert index == other_index
    assert len(twos) == 2
    for replica in twos:
        np.testing.assert_allclose(replica, ones[0], atol=2e-2 if loss_scale else 1e-5)
    np.testing.assert_array_equal(twos[0], twos[1])
    np.testing.assert_allclose(loss, other_loss, rtol=1e-2 if loss_scale else 1e-5)
