"""Batches by identity: balanced, and the same for any number of workers and replicas."""

from __future__ import annotations

import doctest
from collections import Counter

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_python

from gfkeras.data import FaceBatches, FaceFolder, IdentitySampler, identity_sampler


@st.composite
def samplers(draw):
    """Draws any labels, with some of the arguments that fit them."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=12))
    names = draw(st.permutations(range(-3, len(sizes) - 3)))
    labels = np.repeat(np.array(names) * 7, sizes)
    labels = labels[draw(st.permutations(range(len(labels))))]
    return IdentitySampler(
        labels,
        draw(st.integers(1, len(sizes))),
        draw(st.integers(1, 9)),
        seed=draw(st.integers(0, 2**40)),
        batches_per_epoch=draw(st.none() | st.integers(1, 25)),
    )


def blocks_of(sampler: IdentitySampler, epoch: int = 0) -> np.ndarray:
    """Returns the order of an epoch as (batches, P, K)."""
    order = sampler.order(epoch)
    assert order.dtype == np.int64
    assert order.shape == (len(sampler), sampler.batch_size)
    return order.reshape(len(sampler), sampler.identities_per_batch, sampler.images_per_identity)


@settings(max_examples=150, deadline=None)
@given(samplers(), st.integers(0, 1000))
def test_batches_are_blocks_of_distinct_identities(sampler, epoch):
    labels = sampler.labels[blocks_of(sampler, epoch)]
    assert (labels == labels[:, :, :1]).all()
    for batch in labels[:, :, 0]:
        assert len(set(batch.tolist())) == sampler.identities_per_batch


@settings(max_examples=150, deadline=None)
@given(samplers(), st.integers(0, 1000))
def test_an_epoch_is_balanced(sampler, epoch):
    blocks = blocks_of(sampler, epoch)
    names, sizes = np.unique(sampler.labels, return_counts=True)
    drawn = Counter(sampler.labels[blocks[:, :, 0]].ravel().tolist())
    counts = [drawn[name] for name in names.tolist()]
    assert max(counts) - min(counts) <= 1
    shown = np.bincount(blocks.ravel(), minlength=len(sampler.labels))
    for name in names:
        mine = shown[sampler.labels == name]
        assert mine.max() - mine.min() <= 1
    size_of = dict(zip(names.tolist(), sizes.tolist(), strict=True))
    for block in blocks.reshape(-1, sampler.images_per_identity):
        size = size_of[int(sampler.labels[block[0]])]
        times = Counter(block.tolist())
        # As equally often as K allows: with K images or more, none is repeated. With fewer, all
        # of them are used.
        assert len(times) == min(size, len(block))
        assert max(times.values()) - min(times.values()) <= 1


@settings(max_examples=50, deadline=None)
@given(samplers(), st.integers(0, 1000))
def test_the_order_follows_labels_seed_and_epoch_only(sampler, epoch):
    before = sampler.order(epoch)
    np.random.seed(epoch)  # noqa: NPY002 - the point is that it changes nothing
    other = IdentitySampler(
        sampler.labels.tolist(),
        sampler.identities_per_batch,
        sampler.images_per_identity,
        seed=sampler.seed,
        batches_per_epoch=sampler.batches_per_epoch,
    )
    other.order(epoch + 1)
    np.testing.assert_array_equal(other.order(epoch), before)
    np.testing.assert_array_equal(other.order(np.int64(epoch)), before)


def test_epochs_and_seeds_differ():
    labels = np.repeat(np.arange(20), 10)
    orders = [
        IdentitySampler(labels, 4, 3, seed=seed).order(epoch).tobytes()
        for seed in range(4)
        for epoch in range(4)
    ]
    assert len(set(orders)) == 16


def test_default_number_of_batches():
    labels = np.repeat(np.arange(10), 7)
    assert len(IdentitySampler(labels, 4, 4)) == 4
    assert len(IdentitySampler(labels, 10, 8)) == 1
    assert len(IdentitySampler(labels, 4, 4, batches_per_epoch=9)) == 9


def test_nobody_is_twice_in_a_batch_that_joins_two_permutations():
    """Five identities, three per batch: about every second batch joins two permutations."""
    sampler = IdentitySampler(np.arange(5), 3, 1, batches_per_epoch=50_000)
    batches = np.sort(sampler.order(0), axis=1)
    assert (np.diff(batches, axis=1) > 0).all()
    sets = Counter(map(tuple, batches.tolist()))
    assert len(sets) == 10
    # A tenth each, within five standard deviations of independent draws.
    assert max(abs(count - 5000) for count in sets.values()) < 5 * np.sqrt(50_000 * 0.09)
    places = np.array([np.bincount(column, minlength=5) for column in sampler.order(0).T])
    assert abs(places - 10_000).max() < 5 * np.sqrt(50_000 * 0.16)


def test_images_are_paired_anew_when_they_come_again():
    labels = np.repeat([0, 1], 6)
    blocks = blocks_of(IdentitySampler(labels, 1, 2, batches_per_epoch=600)).reshape(-1, 2)
    pairs = Counter(tuple(sorted(pair)) for pair in blocks.tolist())
    assert len(pairs) == 30
    assert min(pairs.values()) > 5


def test_exactly_as_many_identities_as_a_batch_holds():
    sampler = IdentitySampler(np.repeat([3, 1, 2], 4), 3, 2, batches_per_epoch=40)
    first = sampler.labels[sampler.order(0)[:, ::2]]
    assert (np.sort(first, axis=1) == [1, 2, 3]).all()
    # The order varies. Otherwise each replica would see the same people all the time.
    assert len({tuple(row) for row in first.tolist()}) == 6


def test_people_with_few_images_repeat_them():
    labels = np.array([0, 0, 1, 1, 1])
    for batch in IdentitySampler(labels, 2, 7, batches_per_epoch=10).order(0).reshape(-1, 7):
        counts = np.bincount(batch, minlength=5)
        assert sorted(counts[counts > 0].tolist()) in ([3, 4], [2, 2, 3])
    lone = IdentitySampler(np.array([4, 4, 9]), 2, 3).order(0).tolist()
    assert lone[0].count(2) == 3


def test_people_with_many_images_are_drawn_as_often_as_others():
    labels = np.concatenate([np.zeros(1000, int), np.arange(1, 10).repeat(2)])
    sampler = IdentitySampler(labels, 5, 2)
    drawn = np.bincount(labels[sampler.order(0)].ravel(), minlength=10)
    assert drawn.max() - drawn.min() <= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0.0, 1.0]}, r"`labels` must be a vector of integers.*type float64"),
        ({"labels": [[0, 1]]}, r"`labels` must be a vector.*shape \(1, 2\)"),
        ({"labels": [True, False]}, r"`labels` must be a vector.*type bool"),
        ({"labels": np.zeros(0, int)}, r"`identities_per_batch` must be at most .*, 0\. Received"),
        (
            {"identities_per_batch": 4},
            r"at most the number of identities.*, 3\. Received: identities_per_batch=4",
        ),
        ({"identities_per_batch": 0}, r"`identities_per_batch` must be an integer of at least 1"),
        ({"images_per_identity": 0}, r"`images_per_identity`.*Received: images_per_identity=0"),
        ({"images_per_identity": 2.0}, r"`images_per_identity` must be an integer"),
        ({"batches_per_epoch": 0}, r"`batches_per_epoch`.*Received: batches_per_epoch=0"),
        ({"seed": -1}, r"`seed` must be an integer of at least 0\. Received: seed=-1"),
        ({"seed": "a"}, r"`seed` must be an integer"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    right = {"labels": [0, 1, 2], "identities_per_batch": 2, "images_per_identity": 2}
    with pytest.raises(ValueError, match=message):
        IdentitySampler(**(right | arguments))


@pytest.mark.parametrize("epoch", [-1, 1.0, None])
def test_a_wrong_epoch_is_named(epoch):
    with pytest.raises(ValueError, match=rf"`epoch` must be .*Received: epoch={epoch}"):
        IdentitySampler([0, 1], 2, 1).order(epoch)


def test_the_docstrings_example_runs():
    (example,) = (
        test
        for test in doctest.DocTestFinder().find(identity_sampler.IdentitySampler, globs={})
        if test.examples
    )
    output: list[str] = []
    result = doctest.DocTestRunner().run(example, out=output.append)
    assert result.attempted > 5
    assert result.failed == 0, "".join(output)


def test_sampling_needs_neither_keras_nor_tensorflow():
    script = (
        "import sys; from gfkeras.data import IdentitySampler;"
        "IdentitySampler([0, 1], 2, 1).order(0);"
        "print([name for name in ('keras', 'tensorflow', 'jax') if name in sys.modules])"
    )
    assert run_python(script) == [[]]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_the_docstrings_tf_data_example_runs():
    import tensorflow as tf

    labels = np.repeat(np.arange(6), 5)
    images = np.arange(30) * 10
    sampler = IdentitySampler(labels, 3, 2)

    def read(rows):
        return tf.gather(images, rows), tf.gather(labels, rows)

    def rows_of(number):
        rows = tf.numpy_function(sampler.order, [number], tf.int64)
        return tf.data.Dataset.from_tensor_slices(rows)

    expected = [row for epoch in range(3) for row in sampler.order(epoch)]
    one = tf.data.Dataset.from_tensor_slices(sampler.order(0)).map(read)
    many = tf.data.Dataset.range(3).flat_map(rows_of).map(read)
    for rows, (x, y) in zip(expected[: len(sampler)], one, strict=True):
        np.testing.assert_array_equal(x, images[rows])
        np.testing.assert_array_equal(y, labels[rows])
    for rows, (x, y) in zip(expected, many, strict=True):
        np.testing.assert_array_equal(x, images[rows])
        np.testing.assert_array_equal(y, labels[rows])


def test_real_faces(shared_data):
    folder = FaceFolder(shared_data / "orl_faces", min_images=2)
    sampler = IdentitySampler(folder.labels, 8, 4, seed=1)
    batches = FaceBatches(folder.load(resize=True).images, folder.labels, sampler=sampler)
    assert len(batches) == 400 // 32
    images, labels = batches[3]
    assert images.shape == (32, 112, 112, 3)
    people = labels.reshape(8, 4)
    assert (people == people[:, :1]).all()
    assert len(set(people[:, 0].tolist())) == 8
    # Ten different images of each person: no two rows of a block are the same file.
    assert len({image.tobytes() for image in images}) == 32
    for row, index in enumerate(sampler.order(0)[3]):
        assert folder.paths[index].parent.name == folder.identities[labels[row]]


TRAINING = """
import numpy as np
import tensorflow as tf

import keras
from gfkeras.data import FaceBatches, IdentitySampler

labels = np.random.default_rng(0).integers(0, 7, 40)
images = np.zeros((40, 112, 112, 3), np.uint8)
images += np.arange(40, dtype=np.uint8)[:, None, None, None]
seen = {}

class Watched(keras.Model):
    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=())

    def call(self, x):
        return self.scale * tf.reduce_mean(tf.cast(x, tf.float32), axis=(1, 2, 3))

    def train_step(self, data):
        x, y = data
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        def note(replica, x, y):
            seen.setdefault(int(replica), []).append([x[:, 0, 0, 0].tolist(), y.tolist()])
            return np.float32(0)
        return {"loss": tf.numpy_function(note, [replica, x, y], tf.float32)}

for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
    seen.clear()
    strategy = tf.distribute.MirroredStrategy(devices)
    assert strategy.num_replicas_in_sync == len(devices)
    with strategy.scope():
        model = Watched()
        model.compile("sgd", jit_compile=False)
    batches = FaceBatches(images, labels, sampler=IdentitySampler(labels, 4, 3, seed=2))
    count = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(batches, "epoch", epoch)
    )
    model.fit(batches, epochs=3, verbose=0, shuffle=False, callbacks=[count])
    print([seen[replica] for replica in range(len(devices))])
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute's replicas")
def test_two_replicas_share_the_batches_of_one():
    """Runs in its own process, because a device must be split before TensorFlow starts."""
    (one,), (first, second) = run_python(TRAINING, two_cpus=True)
    labels = np.random.default_rng(0).integers(0, 7, 40)
    sampler = IdentitySampler(labels, 4, 3, seed=2)
    expected = [row for epoch in range(3) for row in sampler.order(epoch)]
    assert len(one) == len(first) == len(second) == len(expected) == 9
    for rows, whole, left, right in zip(expected, one, first, second, strict=True):
        assert whole == [rows.tolist(), labels[rows].tolist()]
        assert [a + b for a, b in zip(left, right, strict=True)] == whole
        # The part of each replica contains whole identities.
        assert not set(left[1]) & set(right[1])
