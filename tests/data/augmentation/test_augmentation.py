"""`Augmentation` as a whole, as FaceBatches and worker processes use it."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from gfkeras.data import FaceBatches
from gfkeras.data.augmentation import Augmentation
from gfkeras.data.augmentation.catalog import AUGMENTATIONS, make_layer

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
LAYERS = [{"name": "color", "brightness_factor": 0.3}, {"name": "grayscale", "probability": 0.5}]


def test_both_parts_draw_from_one_generator():
    augmentation = Augmentation(flip=True, shift=2, layers=LAYERS)
    pictures = augmentation(IMAGES, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    moved = augmentation.host(IMAGES, rng.random((10, 3)))
    expected = augmentation.apply_layers(moved, rng.integers(0, 2**31, 2))
    np.testing.assert_array_equal(pictures, expected)
    assert (pictures != moved).any()


@pytest.mark.parametrize(
    ("arguments", "draws"),
    [({}, 0), ({"flip": True}, 1), ({"shift": 2}, 2), ({"flip": True, "shift": 2}, 3)],
)
def test_only_what_is_asked_for(arguments, draws):
    augmentation = Augmentation(**arguments)
    assert augmentation.draws == draws
    assert not augmentation.has_layers
    pictures = augmentation(IMAGES, np.random.default_rng(0))
    assert (pictures != IMAGES).any() == bool(arguments)
    assert augmentation.apply_layers(IMAGES, (1, 2)) is IMAGES


def test_batches_are_varied_the_same_in_any_order_and_in_another_process():
    augmentation = Augmentation(flip=True, layers=LAYERS)
    batches = FaceBatches(
        np.random.default_rng(1).integers(0, 256, (10, 112, 112, 3), np.uint8),
        np.arange(10), 4, augmentation=augmentation, seed=3,
    )  # fmt: skip
    first = [batches[i][0] for i in range(3)]
    sent = pickle.loads(pickle.dumps(batches))
    for index in (2, 0, 1):
        np.testing.assert_array_equal(batches[index][0], first[index])
        np.testing.assert_array_equal(sent[index][0], first[index])


def test_moves_alone_do_not_import_keras():
    code = (
        "import sys; from gfkeras.data.augmentation import Augmentation; "
        "Augmentation(flip=True, shift=3); sys.exit('keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({"name": "colour"}, "Unknown augmentation 'colour'; did you mean 'color'?"),
        ({"name": "color", "brightnes_factor": 0.1}, "did you mean 'brightness_factor'?"),
        ({"name": "color", "seed": 3}, "Unknown argument 'seed' of color; "),
        ({"name": "color", "value_range": [0, 1]}, "Unknown argument 'value_range' of color; "),
        ({"name": "color", "brightness_factor": 3}, "color: The `factor` argument should be"),
        ({"name": "grayscale", "factor": "a"}, "grayscale: "),
        ({"name": "zoom"}, "zoom needs `height_factor`"),
        ({"name": "zoom", "height_factor": 0.1, "fill_mode": "edge"}, "zoom: Unknown `fill_mode`"),
        ({"name": "blur", "kernel_size": 4}, "must be an odd number"),
        ({"name": "blur", "probability": 0.1, "factor": 0.2}, "`probability` or `factor`, not"),
        ({"name": "crop", "probability": 1.5}, "`probability` must be in [0, 1]. Received: pro"),
        ({"name": "crop", "probability": True}, "`probability` must be in [0, 1]."),
        ({"name": "crop", "scale": [0.5, 1.5]}, "`scale` must be two numbers, 0 < low ≤ high ≤ 1"),
        ({"name": "crop", "ratio": 0.5}, "`ratio` must be two numbers, 0 < low ≤ high. Received"),
        ({"name": "low_resolution", "scale": [0, 1]}, "low_resolution: `scale` must be two num"),
        ({"name": "rand_augment", "num_ops": 0}, "`num_ops` must be an integer of at least 1"),
    ],
)
def test_wrong_layers(layer, expected):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        Augmentation(layers=[layer])
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", ["crop", "low_resolution", "rand_augment"])
def test_own_layers_survive_a_round_trip(name):
    layer, _ = make_layer(name, {})
    again = AUGMENTATIONS[name].layer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert layer.compute_output_shape((None, 8, 8, 3)) == (None, 8, 8, 3)
    images = IMAGES.astype("float32")
    np.testing.assert_array_equal(np.asarray(layer(images, training=False)), images)
