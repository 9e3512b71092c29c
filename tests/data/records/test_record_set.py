"""Records are readable by TensorFlow, each on its own, and damage is found."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gfkeras.data import FaceBatches, RecordSet
from gfkeras.data.prepare import PrepareOptions, prepare
from gfkeras.data.records import tfrecord
from gfkeras.errors import ImageError


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Writes five people with 2 to 6 noisy images each."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    for person in range(5):
        (root / f"p{person}").mkdir()
        for number in range(2 + person):
            pixels = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"p{person}" / f"{number}.jpg")
    return root


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("records") / "records"
    prepare(photos, out, PrepareOptions(shard_size=8), workers=1)
    return out


def test_tensorflow_reads_the_same(folder):
    tf = pytest.importorskip("tensorflow")
    records = RecordSet(folder)
    files = [str(folder / shard.file) for shard in records.manifest.splits["train"].shards]
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
        "image/class/text": tf.io.FixedLenFeature([], tf.string),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
    }
    count = 0
    for number, raw in enumerate(tf.data.TFRecordDataset(files)):
        parsed = tf.io.parse_single_example(raw, features)
        ours = records.record(number)
        assert parsed["image/encoded"].numpy() == ours.image == records.read(number)
        assert int(parsed["image/class/label"]) == ours.label == records.labels[number]
        assert parsed["image/class/text"].numpy().decode() == ours.identity
        assert parsed["image/filename"].numpy().decode() == ours.name
        assert int(parsed["image/height"]) == 112
        decoded = tf.io.decode_jpeg(ours.image, channels=3, dct_method="INTEGER_ACCURATE").numpy()
        difference = decoded.astype(int) - records.decode([number])[0][0]
        assert np.abs(difference).mean() < 1
        count += 1
    assert count == len(records) == 20


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300))
def test_frames_round_trip(data):
    assert tfrecord.unframe(tfrecord.frame(data)) == data


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_changed_bit_or_a_cut_is_found(data, draw):
    framed = bytearray(tfrecord.frame(data))
    framed[draw.draw(st.integers(0, len(framed) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="record"):
        tfrecord.unframe(bytes(framed))
    cut = tfrecord.frame(data)[: draw.draw(st.integers(1, len(data) + 15))]
    with pytest.raises(ValueError, match="length"):
        tfrecord.unframe(cut)


def test_not_a_record():
    with pytest.raises(ValueError, match="not a record"):
        tfrecord.decode(b"\xff\xff\xff")


def test_selections_label_anew(folder):
    records = RecordSet(folder)
    some = records.select(["p3", "p1"])
    assert some.identities == ["p3", "p1"]
    assert len(some) == 5 + 3
    for number in range(len(some)):
        assert some.record(number).identity == some.identities[some.labels[number]]
    first, last = records.split(2)
    assert (first.identities, last.identities) == (["p0", "p1", "p2"], ["p3", "p4"])
    assert records.at_least(4).identities == ["p2", "p3", "p4"]
    assert first.at_least(4).identities == ["p2"]
    with pytest.raises(ValueError, match="at least two identities"):
        first.at_least(4).require_trainable()
    with pytest.raises(ValueError, match="did you mean 'p3'"):
        records.select(["p33"])
    with pytest.raises(ValueError, match="at least 1 and fewer than the 5 identities"):
        records.split(5)
    with pytest.raises(IndexError, match="there are 8 records"):
        some.read(8)
    copy = pickle.loads(pickle.dumps(some))
    assert copy.read(3) == some.read(3)


def test_load_gives_faces(folder):
    faces = RecordSet(folder).load()
    assert len(faces) == 20
    assert np.bincount(faces.labels).tolist() == [2, 3, 4, 5, 6]
    assert faces.paths[0].name.endswith(".jpg")


def test_damage_is_refused(folder, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(folder, out)
    shard = out / "train-00001-of-00003.tfrecord"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    records = RecordSet(out)
    with pytest.raises(ValueError, match="is damaged: its SHA-256"):
        records.verify()
    images, read, reasons = records.decode(np.arange(20))
    assert (~read).sum() == 1
    (place,) = reasons
    assert place.startswith(str(shard))
    assert "checksum" in reasons[place]
    assert not images[~read].any()
    with pytest.raises(ImageError, match="checksum"):
        records.read(int(np.flatnonzero(~read)[0]))
    # Training continues with another image of the batch and lists the damaged one.
    batches = FaceBatches(records, batch_size=20, shuffle=False)
    _, labels = batches[0]
    assert len(labels) == 20
    assert [str(path) for path in batches.skipped] == [place]

    shard.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"bytes long, expected .* Prepare the records again"):
        RecordSet(out)
    shard.unlink()
    with pytest.raises(ValueError, match="is missing"):
        RecordSet(out)


def test_wrong_manifests_are_refused(folder, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(folder, out)
    manifest = json.loads((out / "manifest.json").read_text())

    def with_shard(**changes) -> None:
        changed = json.loads(json.dumps(manifest))
        changed["splits"]["train"]["shards"][0] |= changes
        (out / "manifest.json").write_text(json.dumps(changed))

    with_shard(file="../secret.tfrecord")
    with pytest.raises(ValueError, match="not the name of a file in this folder"):
        RecordSet(out)
    with_shard(records=9)
    with pytest.raises(ValueError, match="do not add up"):
        RecordSet(out)
    with_shard(records="eight")
    with pytest.raises(ValueError, match=r"shards\.0\.records"):
        RecordSet(out)
    (out / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        RecordSet(out)
    (out / "manifest.json").unlink()
    with pytest.raises(ValueError, match="gfkeras prepare"):
        RecordSet(out)
    with pytest.raises(ValueError, match="did you mean 'train'"):
        RecordSet(folder, "trian")
