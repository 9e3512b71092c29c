"""Batches: the same numbers give the same images."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from PIL import Image

from gfkeras.data import FaceBatches, IdentitySampler
from gfkeras.data.augmentation import flip_images


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 112, 112, 3), np.uint8)


def flip(images, rng):
    return flip_images(images, rng.random(len(images)))


def test_batches_cover_an_epoch_once(images):
    batches = FaceBatches(images, np.arange(10), 4)
    assert len(batches) == 3
    labels = np.concatenate([batches[i][1] for i in range(3)])
    assert sorted(labels.tolist()) == list(range(10))
    assert batches[0][0].dtype == np.uint8
    assert labels.dtype == np.int32
    for i in range(3):
        np.testing.assert_array_equal(batches[i][0], images[batches[i][1]])


def test_drop_remainder_and_no_shuffle(images):
    batches = FaceBatches(images, np.arange(10), 4, drop_remainder=True, shuffle=False)
    assert len(batches) == 2
    assert batches[1][1].tolist() == [4, 5, 6, 7]


def test_order_and_augmentation_follow_seed_and_epoch(images):
    def epoch(seed, number):
        batches = FaceBatches(images, np.arange(10), 5, seed=seed, augmentation=flip)
        batches.epoch = number
        # Backwards, because a batch must not depend on the batches that were read before.
        return [batches[i] for i in (1, 0)]

    for (first, a), (second, b) in zip(epoch(3, 2), epoch(3, 2), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(first, second)
    assert epoch(3, 2)[0][1].tolist() != epoch(3, 3)[0][1].tolist()
    assert epoch(3, 2)[0][1].tolist() != epoch(4, 2)[0][1].tolist()


@pytest.mark.parametrize("by_identity", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_fit_sees_the_same_batches_with_any_number_of_workers(workers, by_identity):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX traces its step, so that a loss cannot watch the labels")
    labels = np.arange(12) // 3 if by_identity else np.arange(12)
    images = np.zeros((12, 112, 112, 3), np.uint8)
    images += labels.astype(np.uint8)[:, None, None, None]

    sampler = IdentitySampler(labels, 2, 2, seed=5) if by_identity else None
    batches = FaceBatches(images, labels, 4, seed=5, sampler=sampler, workers=workers)
    expected = []
    for epoch in range(3):
        batches.epoch = epoch
        expected += [batches[i][1].tolist() for i in range(3)]
    batches.epoch = 0

    seen = []

    class Probe(keras.layers.Layer):
        def call(self, x):
            return keras.ops.mean(keras.ops.cast(x, "float32"), axis=(1, 2))

    class Watch(keras.losses.Loss):
        def call(self, y_true, y_pred):
            seen.append(np.asarray(y_true).ravel().tolist())
            return keras.ops.mean(y_pred)

    inputs = keras.Input((112, 112, 3))
    model = keras.Model(inputs, keras.layers.Dense(1)(Probe()(inputs)))
    model.compile("sgd", Watch(), run_eagerly=True, jit_compile=False)
    # Keras ends an epoch of the data set before the first one, so set the number.
    count = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(batches, "epoch", epoch)
    )
    model.fit(batches, epochs=3, verbose=0, shuffle=False, callbacks=[count])
    assert seen[-9:] == expected


def test_files_are_decoded_as_needed_and_bad_ones_listed(images, tmp_path):
    paths = []
    for index in range(4):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(images[index]).save(paths[-1])
    paths[1].write_text("text")
    batches = FaceBatches(paths, [0, 1, 2, 3], 4, shuffle=False)
    pictures, labels = batches[0]
    assert pictures.shape == (4, 112, 112, 3)
    assert labels.tolist() == [0, 2, 2, 3]
    for picture, label in zip(pictures, labels, strict=True):
        np.testing.assert_array_equal(picture, images[label])
    assert batches.skipped == {paths[1]: "not an image of a known format"}
    with pytest.raises(ValueError, match=r"None of a batch of 1.*1\.png"):
        FaceBatches(paths[1:2], [0], 1)[0]


def test_a_sampler_chooses_the_batches(images):
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 2])
    sampler = IdentitySampler(labels, 2, 2, seed=4)
    batches = FaceBatches(images, labels, sampler=sampler, augmentation=flip, seed=1)
    assert (len(batches), batches.batch_size) == (2, 4)
    for epoch in (2, 0):
        batches.epoch = epoch
        for index, rows in enumerate(sampler.order(epoch)):
            pictures, got = batches[index]
            np.testing.assert_array_equal(got, labels[rows])
            expected = flip(images[rows], np.random.default_rng((1, epoch, 1 + index)))
            np.testing.assert_array_equal(pictures, expected)
    assert len(FaceBatches(images, labels, 4, sampler=sampler)) == 2
    with pytest.raises(ValueError, match=r"`batch_size`.* 2 · 2 = 4.*Received: batch_size=5"):
        FaceBatches(images, labels, 5, sampler=sampler)
    with pytest.raises(ValueError, match="`sampler` must be made from the same labels"):
        FaceBatches(images, labels[::-1], sampler=sampler)
    with pytest.raises(ValueError, match=r"`batch_size` must be an integer.*batch_size=None"):
        FaceBatches(images, labels)


def test_an_epoch_of_any_length_goes_through_the_images_in_turn(images):
    labels = np.arange(10)
    batches = FaceBatches(images, labels, 4, batches_per_epoch=6)
    assert len(batches) == 6
    drawn = np.concatenate([batches[i][1] for i in range(6)])
    # Two whole rounds of ten images, and four of the third.
    assert np.bincount(drawn[:20], minlength=10).tolist() == [2] * 10
    assert len(set(drawn[:10])) == len(set(drawn[10:20])) == 10
    assert drawn[:10].tolist() != drawn[10:20].tolist()
    short = FaceBatches(images, labels, 4, batches_per_epoch=1)
    np.testing.assert_array_equal(short[0][1], FaceBatches(images, labels, 4)[0][1])


def test_parts_of_a_sampled_batch_hold_whole_identities():
    """FaceNet's batches: 1,800 identities with 40 faces each, read 45 identities at a time."""

    class Unread(FaceBatches):
        def read(self, chosen):
            return np.zeros((len(chosen), 1), np.uint8), chosen

    labels = np.repeat(np.arange(2000), 44)
    files = [f"{i}.jpg" for i in range(len(labels))]
    sampler = IdentitySampler(labels, 1800, 40)
    batches = Unread(files, labels, 45 * 40, sampler=sampler)
    assert len(batches) == 40 * len(sampler) == 40
    update = [batches[i][1] for i in range(40)]
    assert all(part.shape == (1800,) for part in update)
    people, counts = np.unique(np.concatenate(update), return_counts=True)
    assert len(people) == 1800
    assert set(counts) == {40}
    # No identity is divided, so each part has all pairs of its identities.
    assert all(len(np.unique(part)) == 45 for part in update)
    for size in (50 * 40 + 1, 7 * 40, 90 * 20 + 20):
        with pytest.raises(ValueError, match="whole identities"):
            Unread(files, labels, size, sampler=sampler)


def test_an_order_is_drawn_once_an_epoch(images, monkeypatch):
    drawn = []
    original = IdentitySampler.order

    def order(self, epoch):
        drawn.append(epoch)
        return original(self, epoch)

    monkeypatch.setattr(IdentitySampler, "order", order)
    labels = np.arange(10) // 2
    batches = FaceBatches(images, labels, sampler=IdentitySampler(labels, 2, 1))
    for epoch in (0, 1):
        batches.epoch = epoch
        with ThreadPoolExecutor(4) as pool:
            here = [y.tolist() for _, y in pool.map(batches.__getitem__, range(len(batches)))]
    assert drawn == [0, 1]
    # Worker processes get the data set without the order, and draw the same order themselves.
    sent = pickle.loads(pickle.dumps(batches))
    assert [sent[i][1].tolist() for i in range(len(sent))] == here
    assert drawn == [0, 1, 1]


def test_with_a_sampler_a_bad_file_is_replaced_by_the_same_identity(images, tmp_path):
    labels = np.array([0, 0, 1, 1, 2, 2])
    paths = [tmp_path / f"{index}.png" for index in range(6)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image).save(path)
    for bad in (1, 4, 5):
        paths[bad].write_text("text")
    sampler = IdentitySampler(labels, 3, 2)
    batches = FaceBatches(paths, labels, sampler=sampler)
    for epoch in range(5):
        batches.epoch = epoch
        rows = sampler.order(epoch)[0]
        pictures, got = batches[0]
        of = [next(i for i in range(6) if (images[i] == p).all()) for p in pictures]
        assert labels[of].tolist() == got.tolist()
        for row, shown in zip(rows, of, strict=True):
            # The third person does not have another image, so anyone can replace it.
            assert shown == {1: 0}.get(int(row), row) or row in (4, 5)
        assert not {1, 4, 5} & set(of)


def test_wrong_arguments(images):
    with pytest.raises(ValueError, match="one entry per image"):
        FaceBatches(images, [0, 1], 2)
    with pytest.raises(ValueError, match="batch_size"):
        FaceBatches(images, np.arange(10), 0)
    with pytest.raises(ValueError, match="batch_size=11, 10 images"):
        FaceBatches(images, np.arange(10), 11, drop_remainder=True)


@pytest.mark.parametrize("labels", [None, [0.5, 1.7], ["a", "b"], [[0], [1]]])
def test_labels_that_are_not_integers_are_refused(labels):
    images = np.zeros((2, 112, 112, 3), "uint8")
    with pytest.raises(ValueError, match="`labels` must be a vector of integers"):
        FaceBatches(images, labels, batch_size=2)
