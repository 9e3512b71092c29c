"""Behaviour of Keras on which gfkeras relies. Each test says what to do if it fails."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest

from gfkeras.data.augmentation.catalog import AUGMENTATIONS, make_layer
from gfkeras.data.augmentation.layer_pipeline import KeyedSeeds
from gfkeras.data.synthetic import render_face

NEEDED = {
    "color": {"brightness_factor": 0.2, "contrast_factor": 0.2, "saturation_factor": 0.2,
              "hue_factor": 0.2},
    "zoom": {"height_factor": 0.2},
    "rotation": {"factor": 0.2},
}  # fmt: skip


def taken(seeds: KeyedSeeds, key, count: int) -> list[tuple[int, ...]]:
    with seeds.start(np.array(key)):
        return [tuple(keras.ops.convert_to_numpy(seeds.next()).tolist()) for _ in range(count)]


def test_seeds_follow_from_key_and_count():
    seeds = KeyedSeeds()
    assert taken(seeds, (1, 2), 5) == taken(KeyedSeeds(), (1, 2), 5)
    assert taken(seeds, (1, 2), 5)[:3] == taken(seeds, (1, 2), 3)
    state = seeds.state
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(state.value), [0, 0])


@pytest.mark.parametrize("place", [0, 1])
def test_calls_that_count_up_never_share_a_seed(place):
    seeds = KeyedSeeds()
    keys = np.full((200, 2), 2**31 - 300)
    keys[:, place] += np.arange(200)
    found = [seed for key in keys for seed in taken(seeds, key, 40)]
    assert len(set(found)) == len(found)


def test_each_thread_has_its_own_key():
    seeds = KeyedSeeds()
    barrier = threading.Barrier(2)
    found = {}

    def work(number: int) -> None:
        with seeds.start(np.array((number, number))):
            barrier.wait()
            found[number] = [keras.ops.convert_to_numpy(seeds.next())[1] for _ in range(20)]

    threads = [threading.Thread(target=work, args=(number,)) for number in (3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {3: [3] * 20, 4: [4] * 20}
    with pytest.raises(RuntimeError, match=r"only within `with seeds\.start\(key\):`"):
        seeds.next()


def test_keras_accepts_the_seeds_of_next():
    """If this fails, seeds have another form: change `KeyedSeeds.next`."""
    seeds, usual = KeyedSeeds(), keras.random.SeedGenerator(3)
    of_keras = usual.next()
    with seeds.start(np.array((3, 4))):
        ours = seeds.next()
        drawn = keras.random.uniform((50,), seed=seeds)
    assert tuple(ours.shape) == tuple(of_keras.shape) == (2,)
    assert keras.backend.standardize_dtype(ours.dtype) == usual.state.dtype
    assert 0.2 < float(keras.ops.mean(drawn)) < 0.8


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_layers_draw_from_their_attribute_generator_only(name):
    """If this fails, a layer of Keras takes its seeds from elsewhere: see `layer_pipeline.py`."""
    layer, _ = make_layer(name, NEEDED.get(name, {}))
    parts = [layer, *(part for part in vars(layer).values() if hasattr(part, "generator"))]
    own = [part.generator for part in parts]
    before = [keras.ops.convert_to_numpy(generator.state.value).tolist() for generator in own]

    drawn = []

    class Counted(KeyedSeeds):
        def next(self, ordered: bool = True):
            drawn.append(name)
            return super().next(ordered)

    layer.generator = seeds = Counted()
    images = np.stack([render_face(1, 0, size=32)] * 4).astype("float32")
    with seeds.start(np.array((1, 2))):
        layer(images, training=True)
    assert drawn
    assert before == [keras.ops.convert_to_numpy(g.state.value).tolist() for g in own]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="what TensorFlow refuses")
def test_keras_does_not_accept_a_key_as_seed_yet():
    """If this fails, layers may accept the key itself: check whether KeyedSeeds can be removed."""
    with pytest.raises(ValueError, match="seed"):
        keras.random.uniform((3,), seed=keras.ops.convert_to_tensor([1, 2]))
