"""Distillation of embeddings by directions and by relations."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from differentiation import finite_differences, value_and_gradients
from eager_and_compiled import EAGER_AND_COMPILED, few_on_jax, slow_on_jax
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from processes import run_python

from gfkeras.losses import CosineDistillationLoss, RelationalDistillationLoss


def normal(*shape, seed=0, dtype="float32"):
    """Returns normal random numbers rounded to `dtype`, in float32."""
    values = np.random.default_rng(seed).normal(size=shape)
    return ops.convert_to_numpy(ops.cast(ops.cast(values, dtype), "float32"))


def unit(rows):
    return rows / np.sqrt(np.maximum((rows**2).sum(axis=1, keepdims=True), 1e-12))


def cosine_oracle(teacher, student):
    return np.mean([1 - t @ x for t, x in zip(unit(teacher), unit(student), strict=True)])


def huber(d):
    return d * d / 2 if abs(d) <= 1 else abs(d) - 0.5


def distance_oracle(teacher, student):
    pairs = list(itertools.permutations(range(len(teacher)), 2))
    relative = []
    for rows in (teacher, student):
        distances = np.array([np.linalg.norm(rows[i] - rows[j]) for i, j in pairs])
        relative.append(distances / distances.mean() if distances.any() else distances)
    return np.mean([huber(d) for d in relative[1] - relative[0]]) if pairs else 0.0


def angle_oracle(teacher, student):
    losses = []
    for i, j, k in itertools.permutations(range(len(teacher)), 3):
        cosines = []
        for rows in (teacher, student):
            a, b = rows[i] - rows[j], rows[k] - rows[j]
            lengths = np.linalg.norm(a), np.linalg.norm(b)
            # Rows closer than 1e-6 have no direction.
            cosines.append(a @ b / np.prod(lengths) if min(lengths) > 1e-6 else 0.0)
        losses.append(huber(cosines[1] - cosines[0]))
    return np.mean(losses) if losses else 0.0


def relational_oracle(teacher, student, distance_weight=1.0, angle_weight=2.0, normalize=True):
    if normalize:
        teacher, student = unit(teacher), unit(student)
    return distance_weight * distance_oracle(teacher, student) + angle_weight * angle_oracle(
        teacher, student
    )


@EAGER_AND_COMPILED
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 4])
def test_cosine_is_the_mean_of_one_minus_the_cosines(batch, dtype, compiled):
    teacher, student = normal(batch, 3, dtype=dtype), normal(batch, 3, seed=1, dtype=dtype)
    value, found = value_and_gradients(
        lambda t, x: CosineDistillationLoss(3.0)(ops.cast(t, dtype), ops.cast(x, dtype)),
        teacher,
        student,
        compiled=compiled,
    )
    t, x = teacher.astype("float64"), student.astype("float64")
    assert value.dtype == np.float32
    assert float(value) == pytest.approx(3 * cosine_oracle(t, x), rel=1e-5)
    (expected,) = finite_differences(lambda x: 3 * cosine_oracle(t, x), x)
    tolerance = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    np.testing.assert_allclose(found[1], expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found[0], 0)


def test_cosine_of_equal_opposite_and_zero_rows():
    rows = np.array([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0], [1.0, 0.0]], "float32")
    teacher = rows * np.array([[2], [-1], [1], [0]], "float32")
    for i, expected in enumerate([0, 2, 1, 1]):
        value, (_, gradient) = value_and_gradients(
            CosineDistillationLoss(), teacher[i : i + 1], rows[i : i + 1]
        )
        assert float(value) == pytest.approx(expected, abs=1e-6)
        np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("loss", [CosineDistillationLoss(), RelationalDistillationLoss()])
def test_teacher_embeddings_can_be_the_targets_of_a_compiled_model(loss):
    images = normal(12, 6)
    teacher = images @ normal(6, 4, seed=2)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, use_bias=False)])
    model.compile(keras.optimizers.Adam(0.05), loss=loss)
    before = model.evaluate(images, teacher, batch_size=12, verbose=0)
    student = model.predict(images, verbose=0)
    assert before == pytest.approx(float(loss(teacher, student)), rel=1e-4)
    history = model.fit(images, teacher, batch_size=12, epochs=100, verbose=0)
    assert history.history["loss"][-1] < 0.1 * before
    with pytest.raises(ValueError, match="a loss of the whole batch"):
        loss(teacher, student, np.ones(12))


RELATIONAL = {
    "both": {},
    "distances": {"distance_weight": 1.5, "angle_weight": 0.0},
    "angles": {"distance_weight": 0.0, "angle_weight": 1.5},
    "lengths kept": {"normalize": False},
}


@EAGER_AND_COMPILED
@pytest.mark.parametrize("arguments", few_on_jax(RELATIONAL, "both", "lengths kept"))
def test_relational_is_the_papers(arguments, compiled):
    arguments = RELATIONAL[arguments]
    # Some differences between student and teacher are above 1, to test both Huber branches.
    teacher, student = normal(6, 4), normal(6, 3, seed=1)
    student[0] *= 20 if "normalize" in arguments else 1
    loss = RelationalDistillationLoss(**arguments, weight=3.0)
    value, found = value_and_gradients(loss, teacher, student, compiled=compiled)
    t, x = teacher.astype("float64"), student.astype("float64")
    assert value.dtype == np.float32
    assert float(value) == pytest.approx(3 * relational_oracle(t, x, **arguments), rel=1e-5)
    (expected,) = finite_differences(lambda x: 3 * relational_oracle(t, x, **arguments), x)
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[0], 0)


@pytest.mark.parametrize("dtype", few_on_jax(["float16", "bfloat16"], "float16"))
def test_relational_in_mixed_precision(dtype):
    teacher, student = normal(5, 4, dtype=dtype), normal(5, 3, seed=1, dtype=dtype)
    value, (_, found) = value_and_gradients(
        lambda t, x: RelationalDistillationLoss()(ops.cast(t, dtype), ops.cast(x, dtype)),
        teacher,
        student,
        compiled=True,
    )
    t, x = teacher.astype("float64"), student.astype("float64")
    assert value.dtype == np.float32
    assert float(value) == pytest.approx(relational_oracle(t, x), rel=1e-5)
    (expected,) = finite_differences(lambda x: relational_oracle(t, x), x)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


@EAGER_AND_COMPILED
@pytest.mark.parametrize("batch", [1, 2])
def test_relational_of_one_or_two_is_zero(batch, compiled):
    value, (_, gradient) = value_and_gradients(
        RelationalDistillationLoss(), normal(batch, 4), normal(batch, 3), compiled=compiled
    )
    assert float(value) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@EAGER_AND_COMPILED
def test_relational_of_equal_and_zero_rows(compiled):
    rows, other = normal(5, 3), normal(5, 3, seed=1)
    cases = {
        "two equal in the student": (other, rows[[0, 0, 1, 2, 3]]),
        "two equal but for length": (other, rows[[0, 0, 1, 2, 3]] * [[1], [3], [1], [1], [1]]),
        "two equal in the teacher": (rows[[0, 0, 1, 2, 3]], other),
        "all equal in the student": (other, rows[[0, 0, 0, 0, 0]]),
        "all equal in the teacher": (rows[[0, 0, 0, 0, 0]], other),
        "all equal in both": (rows[[0, 0, 0, 0, 0]], other[[0, 0, 0, 0, 0]]),
        "zero rows": (other * [[0], [1], [1], [1], [1]], rows * [[0], [0], [1], [1], [1]]),
    }
    for name, (teacher, student) in cases.items():
        teacher, student = teacher.astype("float32"), student.astype("float32")
        value, (_, gradient) = value_and_gradients(
            RelationalDistillationLoss(), teacher, student, compiled=compiled
        )
        expected = relational_oracle(teacher.astype("float64"), student.astype("float64"))
        assert float(value) == pytest.approx(expected, rel=1e-5, abs=1e-9), name
        assert np.isfinite(gradient).all(), name
        if name.startswith("two equal") or name == "zero rows":
            assert gradient.any(), name


@slow_on_jax
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_relations_do_not_depend_on_order_rotation_scale_and_place(seed):
    rng = np.random.default_rng(seed)
    teacher, student = normal(5, 4, seed=seed), normal(5, 3, seed=seed + 1)
    order = rng.permutation(5)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for normalize in (True, False):
        loss = RelationalDistillationLoss(normalize=normalize)
        moved = student @ rotation * 3 + (0 if normalize else rng.normal(size=3))
        assert float(loss(teacher[order], moved[order].astype("float32"))) == pytest.approx(
            float(loss(teacher, student)), abs=1e-5
        )


@slow_on_jax
def test_a_student_of_the_teachers_relations_has_no_loss():
    # The teacher uses only a subspace, so a student with fewer dimensions can match it.
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 3)))[0]
    student = normal(7, 3)
    teacher = (student @ basis.T).astype("float32")
    loss = RelationalDistillationLoss()
    assert float(loss(teacher, 5 * student)) == pytest.approx(0, abs=1e-9)
    assert float(loss(teacher, normal(7, 3, seed=1))) > 0.01


@slow_on_jax
def test_xla_gives_the_same():
    teacher, student = normal(5, 4), normal(5, 3, seed=1)
    loss = RelationalDistillationLoss()
    expected_value, (_, expected) = value_and_gradients(loss, teacher, student)
    if keras.backend.backend() == "jax":
        value, (_, found) = value_and_gradients(loss, teacher, student, compiled=True)
    else:
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def run(teacher, student):
            with tf.GradientTape() as tape:
                tape.watch(student)
                value = loss(teacher, student)
            return value, tape.gradient(value, student)

        value, found = run(tf.constant(teacher), tf.constant(student))
    assert float(value) == pytest.approx(float(expected_value), rel=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles known shapes")
def test_batches_of_a_size_unknown_while_tracing():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4)), tf.TensorSpec((None, 3))])
    def run(teacher, student):
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = RelationalDistillationLoss()(teacher, student)
        return value, tape.gradient(value, student)

    for batch in (3, 6):
        teacher, student = normal(batch, 4), normal(batch, 3, seed=1)
        value, gradient = run(teacher, student)
        expected, (_, expected_gradient) = value_and_gradients(
            RelationalDistillationLoss(), teacher, student
        )
        assert float(value) == pytest.approx(float(expected), rel=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


MEMORY = """
import resource
import numpy as np
from differentiation import value_and_gradients
from gfkeras.losses import RelationalDistillationLoss

def use(batch):
    rows = np.random.default_rng(0).normal(size=(2, batch, 8)).astype("float32")
    _, (_, gradient) = value_and_gradients(RelationalDistillationLoss(), *rows, compiled=True)
    assert np.isfinite(gradient).all() and gradient.any()

use(4)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
use(384)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
def test_relational_needs_little_memory():
    """A separate process, because only the peak memory of a whole process can be measured."""
    (used,) = run_python(MEMORY)
    # One (B, B, B) array of floats is 226 MB.
    assert used < 150e6


TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
from gfkeras.losses import RelationalDistillationLoss

batch = np.load(sys.argv[1])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def halves(name):
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(np.split(batch[name], 2)[replica.replica_id_in_sync_group])
    )

@tf.function
def step(teacher, student):
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = RelationalDistillationLoss()(teacher, student)
    return value, tape.gradient(value, student)

values, gradients = strategy.run(step, args=(halves("teacher"), halves("student")))
print([float(v) for v in strategy.experimental_local_results(values)])
print([g.numpy().tolist() for g in strategy.experimental_local_results(gradients)])
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute's replicas")
def test_relations_include_all_replicas(tmp_path):
    """Two replicas need a separate process, because a device is split before TensorFlow starts."""
    batch = {"teacher": normal(6, 4), "student": normal(6, 3, seed=1)}
    np.savez(tmp_path / "batch.npz", **batch)
    values, gradients = run_python(TWO_REPLICAS, str(tmp_path / "batch.npz"), two_cpus=True)
    whole, (_, gradient) = value_and_gradients(RelationalDistillationLoss(), *batch.values())
    # Each replica returns its share. The sum is the loss of the whole batch.
    np.testing.assert_allclose(values, [float(whole) / 2] * 2, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(gradients), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        CosineDistillationLoss(0.5, name="directions"),
        RelationalDistillationLoss(0.5, 3.0, 0.25, normalize=False, name="relations"),
    ],
)
def test_config_gives_the_same_loss(loss):
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert twin.get_config() == loss.get_config()


@pytest.mark.parametrize(
    "arguments", [{"distance_weight": -1}, {"angle_weight": float("inf")}, {"weight": -1}]
)
def test_wrong_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        RelationalDistillationLoss(**arguments)


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match=r"same shape.*\(2, 3\) and \(2, 4\)"):
        CosineDistillationLoss()(normal(2, 3), normal(2, 4))
    with pytest.raises(ValueError, match=r"same images.*3 and 2 rows"):
        RelationalDistillationLoss()(normal(3, 3), normal(2, 4))
    for loss in (CosineDistillationLoss(), RelationalDistillationLoss()):
        with pytest.raises(ValueError, match="`teacher_embedding` must be finite"):
            loss(np.full((2, 3), np.nan, "float32"), normal(2, 3))
        with pytest.raises(ValueError, match="`embedding` must be floats"):
            loss(normal(2, 3), np.ones((2, 3), "int32"))
