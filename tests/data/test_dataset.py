"""Batches through tf.data and over workers: nothing twice, nothing lost, exact resumption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import run_python

from gfkeras.data import FaceBatches, RecordSet, tf_dataset
from gfkeras.data.augmentation import Augmentation
from gfkeras.data.prepare import PrepareOptions, prepare

tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Writes 64 records of 8 people. The colour of each image identifies it."""
    root = tmp_path_factory.mktemp("photos")
    for number in range(64):
        (root / f"p{number // 8}").mkdir(exist_ok=True)
        pixels = np.zeros((112, 112, 3), np.uint8)
        pixels[..., 0], pixels[:, 60:, 1] = 3 * number + 20, 200
        Image.fromarray(pixels).save(root / f"p{number // 8}" / f"{number}.jpg", quality=95)
    out = tmp_path_factory.mktemp("records") / "records"
    prepare(root, out, PrepareOptions(shard_size=20), workers=1)
    return out


def batches(folder: Path, **arguments) -> FaceBatches:
    return FaceBatches(RecordSet(folder), batch_size=16, drop_remainder=True, **arguments)


def numbers(images: np.ndarray) -> list[int]:
    """Returns the numbers of images, which follow from their colours."""
    return np.rint((np.asarray(images)[:, 5, 5, 0].astype(float) - 20) / 3).astype(int).tolist()


def same(first, second) -> None:
    first, second = list(first), list(second)
    assert len(first) == len(second)
    for (a, b), (c, d) in zip(first, second, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(c))
        np.testing.assert_array_equal(np.asarray(b), np.asarray(d))


@pytest.mark.parametrize("layers", [(), ({"name": "color", "brightness_factor": 0.3},)])
def test_the_same_batches_in_any_number_of_threads_and_from_any_step(folder, layers):
    augmentation = Augmentation(flip=True, shift=3, layers=layers)
    given = batches(folder, augmentation=augmentation, seed=5)
    plain = [given.batch(epoch, index) for epoch in range(3) for index in range(4)]
    same(tf_dataset(given, 3, parallel=1), plain)
    same(tf_dataset(given, 3, parallel=3), plain)
    # Stop in the middle of the second epoch.
    same(tf_dataset(given, 3, first_step=6), plain[6:])
    assert len(list(tf_dataset(given, 3, first_step=12))) == 0


def test_an_epoch_holds_every_image_once_and_the_next_in_another_order(folder):
    given = batches(folder)
    order = [n for images, _ in tf_dataset(given, 2) for n in numbers(images)]
    assert Counter(order[:64]) == Counter(range(64)) == Counter(order[64:])
    assert order[:64] != order[64:]
    for images, labels in tf_dataset(given):
        names = [given.images.identities[label] for label in np.asarray(labels)]
        assert names == [f"p{number // 8}" for number in numbers(images)]


@pytest.mark.parametrize("count", [2, 4])
def test_shards_are_parts_of_the_same_batch(folder, count):
    augmentation = Augmentation(flip=True, shift=3)
    whole = batches(folder, augmentation=augmentation)
    parts = [whole.sharded(index, count) for index in range(count)]
    for index in range(4):
        images, labels = whole.batch(2, index)
        of_parts = [part.batch(2, index) for part in parts]
        np.testing.assert_array_equal(np.concatenate([p[0] for p in of_parts]), images)
        np.testing.assert_array_equal(np.concatenate([p[1] for p in of_parts]), labels)


REPLICAS = """
import sys, json, numpy as np, tensorflow as tf
from gfkeras.data import FaceBatches, RecordSet, tf_dataset
batches = FaceBatches(RecordSet(sys.argv[1]), batch_size=16, drop_remainder=True)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
dataset = strategy.distribute_datasets_from_function(
    lambda context: tf_dataset(batches, 1, input_context=context))
for images, labels in dataset:
    for replica in strategy.experimental_local_results(images):
        print(np.rint((replica.numpy()[:, 5, 5, 0].astype(float) - 20) / 3).astype(int).tolist())
"""


def test_two_replicas_see_every_image_once(folder):
    seen = run_python(REPLICAS, str(folder), two_cpus=True, KERAS_BACKEND="tensorflow")
    assert [len(part) for part in seen] == [8] * 8
    assert Counter(number for part in seen for number in part) == Counter(range(64))


def test_two_workers_with_two_replicas_each_see_every_image_once(folder):
    given = batches(folder)
    seen: list[int] = []
    for worker in range(2):
        context = tf.distribute.InputContext(2, worker, 4)
        for images, _ in tf_dataset(given, 1, input_context=context):
            assert len(images) == 4
            seen += numbers(images)
    assert Counter(seen) == Counter(range(64))


def test_refusals(folder):
    given = batches(folder)
    with pytest.raises(ValueError, match=r"`first_step` must be from 0 to 8"):
        tf_dataset(given, 2, first_step=9)
    with pytest.raises(ValueError, match="`shard` must be"):
        batches(folder, shard=(2, 2))
    with pytest.raises(ValueError, match="multiple of the 3 shards"):
        batches(folder, shard=(0, 3))
    with pytest.raises(ValueError, match="equal parts for 3 replicas"):
        tf_dataset(given, 1, input_context=tf.distribute.InputContext(1, 0, 3))
    context, part = tf.distribute.InputContext(2, 0, 2), batches(folder, shard=(0, 2))
    with pytest.raises(ValueError, match="must be whole"):
        tf_dataset(part, 1, input_context=context)


WITHOUT_TENSORFLOW = """
import sys, json
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ImportError("no TensorFlow here")
sys.meta_path.insert(0, Refuse())
from gfkeras.data import FaceBatches, RecordSet
from gfkeras.data.augmentation import Augmentation
augmentation = Augmentation(flip=True, shift=3)
batches = FaceBatches(
    RecordSet(sys.argv[1]), batch_size=16, drop_remainder=True, augmentation=augmentation)
print(json.dumps([int(batches.batch(1, i)[0].astype("int64").sum()) for i in range(4)]))
"""


def test_jax_reads_the_same_without_tensorflow(folder):
    pytest.importorskip("jax")
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, str(folder)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    given = batches(folder, augmentation=Augmentation(flip=True, shift=3))
    ours = [int(given.batch(1, i)[0].astype("int64").sum()) for i in range(4)]
    assert json.loads(run.stdout) == ours
