"""PartialFC: its samples, and the head inside, which uses only the drawn centers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from differentiation import layer_value_and_gradients
from eager_and_compiled import EAGER_AND_COMPILED, JAX, slow_on_jax
from keras import ops

from gfkeras import heads
from gfkeras.heads import HEADS, PartialFC
from gfkeras.layers import rows
from gfkeras.losses import softmax_cross_entropy

CLASSES, DIMENSIONS = 60, 8
RNG = np.random.default_rng(3)
EMBEDDING = RNG.normal(size=(6, DIMENSIONS), scale=2).astype("float32")
LABELS = np.array([7, 59, 0, 7, 31, 12], "int32")
INSIDE = sorted(set(HEADS) - {"PartialFC"})
# Quick cases: every inner head with its centers in several parts (7), and one head with each
# shape of centers with all centers in one part (1024). On JAX, one case of both kinds.
QUICK = {(name, 7) for name in (("ArcFace",) if JAX else INSIDE)} | {
    (name, 1024) for name in (("SubCenterArcFace",) if JAX else ("ArcFace", "SubCenterArcFace"))
}
HEADS_AND_PARTS = [
    pytest.param(name, part, marks=[] if (name, part) in QUICK else pytest.mark.slow)
    for part in (7, 1024)
    for name in INSIDE
]


def built(sample_rate=0.3, **arguments):
    head = PartialFC(CLASSES, sample_rate, **arguments)
    head.build((None, DIMENSIONS))
    return head


def draws(head, labels, count):
    return [ops.convert_to_numpy(head.sample(ops.convert_to_tensor(labels))) for _ in range(count)]


def test_a_sample_holds_all_positives_once_and_rises():
    head = built()
    for index in draws(head, LABELS, 20):
        assert index.shape == (18,)
        assert (np.diff(index) > 0).all()
        assert set(LABELS) <= set(index)
        assert index.min() >= 0
        assert index.max() < CLASSES


@slow_on_jax
def test_negatives_all_have_the_same_chance():
    head = built()
    count = 3000
    found = draws(head, LABELS, count)
    times = np.bincount(np.concatenate(found), minlength=CLASSES)
    positive = np.isin(np.arange(CLASSES), LABELS)
    assert (times[positive] == count).all()
    chance = (18 - 5) / (CLASSES - 5)
    deviation = (count * chance * (1 - chance)) ** 0.5
    assert np.abs(times[~positive] - count * chance).max() < 4.5 * deviation
    # Neighbours in the order of identities must not be drawn together more often than others.
    first, second = np.zeros(count), np.zeros(count)
    for step, index in enumerate(found):
        first[step], second[step] = 20 in index, 21 in index
    # Without replacement, the expected correlation is −1 / (number of negatives − 1).
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08


def test_samples_follow_from_seed_and_step():
    one, same, other = built(seed=4), built(seed=4), built(seed=5)
    found = draws(one, LABELS, 4)
    np.testing.assert_array_equal(found, draws(same, LABELS, 4))
    assert not np.array_equal(found, draws(other, LABELS, 4))
    assert len({tuple(index) for index in found}) == 4
    assert float(one.step) == 4


def test_sampling_continues_from_saved_weights(tmp_path):
    def model(seed):
        x, y = keras.Input((DIMENSIONS,)), keras.Input((), dtype="int32")
        return keras.Model([x, y], PartialFC(CLASSES, 0.3, seed=seed)(x, y))

    first, second = model(1), model(1)
    head, twin = first.layers[-1], second.layers[-1]
    draws(head, LABELS, 3)
    first.save_weights(tmp_path / "w.weights.h5")
    second.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(draws(twin, LABELS, 2), draws(head, LABELS, 2))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(twin.centers), ops.convert_to_numpy(head.centers)
    )


@EAGER_AND_COMPILED
@pytest.mark.parametrize(("name", "part"), HEADS_AND_PARTS)
def test_every_head_inside_is_that_head_on_the_drawn_centers(name, compiled, part, monkeypatch):
    """Logits, loss and gradients equal those of a plain head with only the drawn centers."""
    monkeypatch.setattr(rows, "MIN_PART", part)
    head = built(head=name, seed=2)
    head.centers.assign(np.random.default_rng(1).normal(size=head.centers.shape))
    (index,) = draws(built(seed=2), LABELS, 1)
    plain = heads.get(name, num_classes=len(index))
    plain.build((None, DIMENSIONS))
    plain.centers.assign(ops.convert_to_numpy(head.centers)[index])
    columns = np.searchsorted(index, LABELS).astype("int32")
    weights = RNG.normal(size=(len(LABELS), len(index))).astype("float32")
    results = {}
    for key, layer, labels in (("partial", head, LABELS), ("plain", plain, columns)):
        results[key] = layer_value_and_gradients(
            layer,
            lambda logits: ops.sum(logits * weights),
            EMBEDDING,
            labels,
            training=True,
            compiled=compiled,
        )
    value, (by_embedding, _), by_weights = results["partial"]
    wanted, (by_plain_embedding, _), (by_plain_centers, *by_plain_bias) = results["plain"]
    assert value == pytest.approx(wanted, rel=1e-4, abs=1e-2)
    scale = np.abs(by_plain_embedding).max()
    np.testing.assert_allclose(by_embedding, by_plain_embedding, atol=1e-5 * scale)
    by_rows, by_index, by_centers, *by_bias = by_weights
    for found, plain_bias in zip(by_bias, by_plain_bias, strict=True):
        np.testing.assert_allclose(found[index], plain_bias, atol=1e-5)
        assert np.count_nonzero(found) == len(index)
    assert not by_centers.any()
    scale = np.abs(by_plain_centers).max()
    np.testing.assert_allclose(by_rows, by_plain_centers, atol=1e-5 * scale)
    np.testing.assert_array_equal(by_index, index)


def test_without_labels_or_training_all_classes_are_there():
    head = built(head="CosFace", head_arguments={"margin": 0.2})
    plain = heads.CosFace(CLASSES, margin=0.2)
    plain.build((None, DIMENSIONS))
    plain.centers.assign(head.centers)
    for labels in ((), (LABELS,)):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(head(EMBEDDING, *labels)),
            ops.convert_to_numpy(plain(EMBEDDING, *labels)),
        )
    assert float(head.step) == 0
    assert head(EMBEDDING, LABELS, training=True).shape == (6, 18)


def test_r_of_one_is_the_head_inside():
    head = built(1.0)
    assert [v.path.rsplit("/", 1)[-1] for v in head.variables] == ["centers"]
    plain = heads.ArcFace(CLASSES)
    plain.build((None, DIMENSIONS))
    plain.centers.assign(head.centers)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(head(EMBEDDING, LABELS, training=True)),
        ops.convert_to_numpy(plain(EMBEDDING, LABELS, training=True)),
    )


def test_a_batch_always_fits_into_its_size():
    assert PartialFC(1000, 0.1).samples == 100
    assert PartialFC(1000, 0.1, batch_size=256).samples == 256
    assert PartialFC(100, 0.1, batch_size=256).samples == 100
    head = PartialFC(1000, 0.002)
    with pytest.raises(
        ValueError, match=r"`sample_rate` must leave space.*gives 2\. Set `batch_si"
    ):
        head(EMBEDDING, LABELS, training=True)
    twice = np.array([7, 7, 9, 9, 7, 9], "int32")
    assert head(EMBEDDING, twice, training=True).shape == (6, 2)


def test_a_wrong_label_in_a_compiled_step_gives_a_nan_loss():
    for labels, wrong in ((LABELS, False), (np.where(LABELS == 31, CLASSES, LABELS), True)):
        head = built()
        found, _, _ = layer_value_and_gradients(
            head,
            # The loss needs labels as columns. `choose` draws another sample, but this test only
            # checks for NaN.
            lambda logits, labels=labels, head=head: ops.sum(
                softmax_cross_entropy(logits, head.choose(labels, True)[1])
            ),
            EMBEDDING,
            labels,
            training=True,
            compiled=True,
        )
        assert np.isnan(found) == wrong


def test_a_head_of_ones_own_and_round_trips():
    own = heads.SubCenterArcFace(CLASSES, sub_centers=2)
    head = PartialFC(CLASSES, 0.3, head=own, batch_size=20, seed=9)
    twin = PartialFC.from_config(head.get_config())
    assert twin.get_config() == head.get_config()
    assert (twin.inner.sub_centers, twin.samples, twin.seed) == (2, 20, 9)
    twin.build((None, DIMENSIONS))
    assert tuple(twin.centers.shape) == (CLASSES, 2, DIMENSIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 0}, r"`sample_rate` must be in \(0, 1\].*sample_rate=0"),
        ({"sample_rate": 1.2}, "`sample_rate` must be"),
        ({"num_classes": 2**24 + 1}, "`num_classes` must be at most 16777216"),
        ({"num_classes": 0}, "`num_classes` must"),
        ({"batch_size": 0}, "`batch_size` must"),
        ({"head": "CosFce"}, "Unknown head 'CosFce'; did you mean 'CosFace'"),
        ({"head": "PartialFC"}, "`head` must be another head than PartialFC"),
        ({"head": "CosFace", "head_arguments": {"margn": 1}}, "'margn' in `head_arguments` of "
         "CosFace; did you mean 'margin'"),
        ({"head_arguments": {"margin": 4.0}}, "`margin` must be in"),
        ({"head": heads.CosFace(9), "head_arguments": {"margin": 0.1}},
         "`head_arguments` can only be given with a `head` by name"),
        ({"head": heads.CosFace(5)}, "`head` must have 9 classes.*CosFace of 5"),
        ({"head": keras.layers.Dense(3)}, "`head` must be a name or a MarginHead"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PartialFC(**{"num_classes": 9, **arguments})
