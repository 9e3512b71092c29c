"""Every layer that a recipe can name, eagerly and inside tf.data, on any backend."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest

from gfkeras.data.augmentation import Augmentation
from gfkeras.data.augmentation.catalog import AUGMENTATIONS
from gfkeras.data.synthetic import render_face

KEY = (12, 34)
# Strong enough to change every batch.
ARGUMENTS = {
    "color": {
        "brightness_factor": 0.2,
        "contrast_factor": [0.3, 0.3],
        "saturation_factor": [0.4, 0.6],
        "hue_factor": 0.1,
    },
    "grayscale": {"factor": 0.5},
    "crop": {"scale": [0.4, 0.8]},
    "low_resolution": {"scale": [0.2, 0.6]},
    "blur": {"sigma": [0.8, 1.0], "kernel_size": 5},
    "cutout": {},
    "zoom": {"height_factor": 0.2, "width_factor": 0.1, "fill_mode": "nearest"},
    "rotation": {"factor": 0.1, "fill_mode": "nearest"},
    "rand_augment": {"factor": 0.2},
}
NAMES = sorted(AUGMENTATIONS)
# TensorFlow's kernels for saturation and hue can round differently when they are fused.
ONE_LEVEL = 1


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.stack([render_face(person, 0, size=48) for person in range(12)])


@pytest.fixture(scope="module")
def built():
    """Returns augmentations by name. Each is compiled once for all tests."""
    return {name: Augmentation(layers=[{"name": name, **ARGUMENTS[name]}]) for name in NAMES}


def in_tf_data(augmentation, images, keys):
    """Returns the result of tf.data for each key."""
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(np.asarray(keys, np.int64))

    def pictures(key):
        return augmentation.apply_layers(tf.constant(images), key)

    dataset = dataset.map(pictures, num_parallel_calls=4)
    assert dataset.element_spec == tf.TensorSpec(images.shape, tf.uint8)
    return np.stack(list(dataset.as_numpy_iterator()))


def levels_apart(a, b) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_the_tests_know_every_name():
    assert set(ARGUMENTS) == set(AUGMENTATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_determines_the_result(name, built, faces):
    before = faces.copy()
    first = built[name].apply_layers(faces, KEY)
    assert first.shape == faces.shape
    assert first.dtype == np.uint8
    assert (first != faces).any()
    others = [built[name].apply_layers(faces, key) for key in ((12, 35), (13, 34), (34, 12))]
    assert all((first != other).any() for other in others)
    np.testing.assert_array_equal(built[name].apply_layers(faces, np.array(KEY)), first)
    # Another process, or a resumed run, builds its own object.
    again = Augmentation(layers=[{"name": name, **ARGUMENTS[name]}])
    np.testing.assert_array_equal(again.apply_layers(faces, KEY), first)
    np.testing.assert_array_equal(faces, before)


@pytest.mark.parametrize("name", NAMES)
def test_tf_data_makes_the_same_images_with_any_number_of_maps(name, built, faces):
    keys = [(5, step) for step in range(8)]
    pictures = in_tf_data(built[name], faces, keys)
    eager = np.stack([built[name].apply_layers(faces, key) for key in keys])
    assert levels_apart(pictures, eager) <= ONE_LEVEL
    assert (pictures == eager).mean() > 0.999
    # Resume in the middle.
    np.testing.assert_array_equal(in_tf_data(built[name], faces, keys[3:5]), pictures[3:5])


@pytest.mark.parametrize("name", NAMES)
def test_a_last_batch_of_one_image_with_unknown_size(name, built, faces):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(np.concatenate([faces, faces[:1]])).batch(12)
    dataset = tf.data.Dataset.zip(dataset, tf.data.Dataset.from_tensors(KEY).repeat())
    found = list(dataset.map(built[name].apply_layers).as_numpy_iterator())
    assert [len(pictures) for pictures in found] == [12, 1]
    for pictures in found:
        eager = built[name].apply_layers(faces[: len(pictures)], KEY)
        assert eager.shape == pictures.shape
        assert levels_apart(pictures, eager) <= ONE_LEVEL


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["color", "cutout", "rand_augment"])
def test_the_dtype_policy_changes_nothing(name, policy, dtype_policy, built, faces):
    # In Keras, layers inside layers and random numbers follow the policy.
    if keras.backend.backend() == "jax" and (name, policy) == ("rand_augment", "mixed_bfloat16"):
        pytest.skip("takes long, and other layers and the other policy are tested")
    dtype_policy(policy)
    again = Augmentation(layers=[{"name": name, **ARGUMENTS[name]}])
    assert keras.config.dtype_policy().name == policy
    expected = built[name].apply_layers(faces, KEY)
    np.testing.assert_array_equal(again.apply_layers(faces, KEY), expected)


@pytest.mark.parametrize("name", NAMES)
def test_black_and_white_stay_within_the_range(name, built):
    # An invalid value, such as 0/0 for a saturation, would become an arbitrary grey.
    flat = np.stack([np.full((48, 48, 3), level, np.uint8) for level in (0, 255) * 6])
    pictures = built[name].apply_layers(flat, KEY)
    if name in ("crop", "low_resolution", "blur", "zoom", "rotation", "grayscale"):
        # Keras's blur pads with black.
        inner = np.s_[:, 4:-4, 4:-4] if name == "blur" else np.s_[:]
        assert levels_apart(pictures[inner], flat[inner]) <= 1
    if name == "color":
        # Grey has no hue and no saturation, so it must stay grey.
        assert np.ptp(pictures.astype(int), axis=-1).max() <= 1


def test_images_vary_one_by_one_except_where_keras_draws_once_per_batch(built, faces):
    alike = np.repeat(faces[:1], 12, axis=0)
    for name in set(NAMES) - {"rand_augment"}:
        pictures = built[name].apply_layers(alike, KEY)
        different = len(np.unique(pictures.reshape(12, -1), axis=0))
        # Grayscale is either on or off. So is blur, with one sigma for the whole batch.
        assert different == 2 if name in ("grayscale", "blur") else different >= 6, name


def test_layers_follow_each_other_and_probability_is_drawn_for_each_image(faces):
    grey = {"name": "grayscale", "probability": 1}
    dark = {"name": "color", "brightness_factor": [-0.5, -0.5], "probability": 0.5}
    alike = np.repeat(faces[:1], 200, axis=0)
    pictures = Augmentation(layers=[grey, dark]).apply_layers(alike, KEY)
    assert (pictures[..., 0] == pictures[..., 1]).all()
    means = pictures.mean(axis=(1, 2, 3))
    assert len(np.unique(means)) == 2
    # Five standard deviations.
    assert abs((means < means.max()).mean() - 0.5) < 5 * np.sqrt(0.25 / 200)
    never = Augmentation(layers=[dark | {"probability": 0}]).apply_layers(alike, KEY)
    np.testing.assert_array_equal(never, alike)


def test_threads_do_not_disturb_each_other(faces):
    # One thread traces while the others are already running.
    augmentation = Augmentation(
        layers=[{"name": name, **ARGUMENTS[name]} for name in ("color", "cutout")]
    )
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        found[number] = augmentation.apply_layers(faces, (1, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        np.testing.assert_array_equal(found[number], augmentation.apply_layers(faces, (1, number)))


def test_low_resolution_equals_shrinking_and_enlarging_by_keras(faces):
    images = faces[:4]
    for side in (12, 17, 40, 48):
        scale = [side / 48, side / 48]
        pictures = Augmentation(layers=[{"name": "low_resolution", "scale": scale}]).apply_layers(
            images, KEY
        )
        small = keras.ops.image.resize(
            images.astype("float32"), (side, side), antialias=True, data_format="channels_last"
        )
        large = keras.ops.image.resize(small, (48, 48), data_format="channels_last")
        expected = np.rint(np.clip(keras.ops.convert_to_numpy(large), 0, 255))
        assert levels_apart(pictures, expected) <= 1


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="takes long, and its layers are tested one by one"
)
def test_rand_augment_equals_that_of_keras(faces):
    ours = Augmentation(layers=[{"name": "rand_augment", "factor": 0.3, "num_ops": 3}])
    layer = keras.layers.RandAugment(factor=0.3, num_ops=3, dtype="float32")
    seeds = ours._pipeline._seeds
    layer.generator = seeds
    for step in range(3):
        with seeds.start(np.array([7, step])):
            expected = layer(faces.astype("float32"), training=True)
        expected = np.rint(np.clip(keras.ops.convert_to_numpy(expected), 0, 255))
        assert levels_apart(ours.apply_layers(faces, (7, step)), expected) <= 1


def test_wrong_keys_and_images(built, faces):
    for key in ((1,), (1.5, 2.0), 3):
        with pytest.raises(ValueError, match="`key` must be two integers"):
            built["crop"].apply_layers(faces, key)
    with pytest.raises(ValueError, match="`images` must be square"):
        built["low_resolution"].apply_layers(faces[:, :40], KEY)
