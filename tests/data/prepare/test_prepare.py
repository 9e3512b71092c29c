"""`prepare`: its files, the same result for every way of running it, and recovery from a kill."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfkeras.data.images import read_image
from gfkeras.data.prepare import PrepareOptions, prepare
from gfkeras.data.records import RecordSet


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Writes six people with 100 JPEGs each, and files that are not images."""
    root = tmp_path_factory.mktemp("photos") / "faces"
    rng = np.random.default_rng(0)
    for person in range(6):
        (root / f"p{person}").mkdir(parents=True)
        for number in range(100):
            pixels = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((112, 112))
            image.save(root / f"p{person}" / f"{number}.jpg", quality=90)
    whole = (root / "p0" / "0.jpg").read_bytes()
    (root / "p1" / "copy.jpg").write_bytes(whole)
    (root / "p1" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "p1" / "empty.jpg").touch()
    (root / "p1" / "text.jpg").write_text("text")
    Image.new("1", (10_000, 10_000)).save(root / "p1" / "bomb.png")
    return root


def test_records_hold_the_images_and_the_rest_is_listed(photos, tmp_path):
    result = prepare(photos, tmp_path / "out", PrepareOptions(shard_size=128, holdout=2))
    assert (result.images, result.identities, result.heldout_identities) == (600, 6, 2)
    assert result.skipped_reasons == {
        "duplicate": 1, "empty": 1, "not-an-image": 1, "too-large": 1, "truncated": 1,
    }  # fmt: skip
    assert (
        'p1/copy.jpg,duplicate,"the same image as p0/0.jpg, under another identity"'
        in (tmp_path / "out" / "skipped.csv").read_text()
    )
    records = RecordSet(tmp_path / "out")
    records.verify()
    for number in (0, 130, 399):
        record = records.record(number)
        assert record.image == (photos / record.name).read_bytes()
        assert records.identities[records.labels[number]] == record.name.split("/")[0]
        np.testing.assert_array_equal(
            records.decode([number])[0][0], read_image(photos / record.name)
        )


def test_any_number_of_workers_gives_the_same_bytes(photos, tmp_path):
    for workers in (1, 2):
        prepare(photos, tmp_path / str(workers), PrepareOptions(shard_size=100), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_runs_end_with_the_bytes_of_an_undisturbed_one(photos, tmp_path, kills):
    prepare(photos, tmp_path / "whole", PrepareOptions(shard_size=100))
    command = [
        sys.executable, "-m", "gfkeras", "prepare", str(photos), str(tmp_path / "killed"),
        "--shard-size", "100", "--workers", "2", "--quiet",
    ]  # fmt: skip
    rng = random.Random(kills)
    for number in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(rng.uniform(0.2, 1.6))
        # Every other time, only the parent is killed and leaves its workers behind.
        (os.kill if number % 2 else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_another_job_does_not_overwrite(photos, tmp_path):
    prepare(photos, tmp_path / "out", PrepareOptions(seed=1))
    before = contents(tmp_path / "out")
    with pytest.raises(ValueError, match=r"another options.seed, 1"):
        prepare(photos, tmp_path / "out", PrepareOptions(seed=2))
    assert contents(tmp_path / "out") == before


def test_after_too_many_held_out_a_smaller_number_works(photos, tmp_path):
    with pytest.raises(ValueError, match="`holdout` must be fewer"):
        prepare(photos, tmp_path / "out", PrepareOptions(holdout=1000))
    with pytest.raises(ValueError, match=r"another options.seed"):
        prepare(photos, tmp_path / "out", PrepareOptions(holdout=1, seed=1))
    assert prepare(photos, tmp_path / "out", PrepareOptions(holdout=1)).images
    prepare(photos, tmp_path / "new", PrepareOptions(holdout=1))
    assert contents(tmp_path / "out") == contents(tmp_path / "new")
    with pytest.raises(ValueError, match=r"another options.holdout, 1"):
        prepare(photos, tmp_path / "out", PrepareOptions(holdout=2))


def test_raw_lfw_aligned_is_the_shipped_alignment(shared_data, tmp_path):
    detector = shared_data / "models" / "face_detection_yunet_2023mar.onnx"
    options = PrepareOptions(align=True, detector=detector)
    result = prepare(shared_data / "lfw_raw250", tmp_path / "out", options)
    assert result.skipped == 0
    records = RecordSet(tmp_path / "out")
    images, read, _ = records.decode(np.arange(len(records)))
    assert read.all()
    differences = [
        np.abs(
            image.astype(int)
            - read_image(shared_data / "lfw_aligned112" / records.record(number).name)
        ).mean()
        for number, image in enumerate(images)
    ]
    assert np.mean(differences) < 6


def test_limits_count_usable_images(tmp_path):
    photos = tmp_path / "photos"
    rng = np.random.default_rng(3)
    for person, count in (("few", 2), ("some", 3), ("many", 6)):
        (photos / person).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / person / f"{number}.png")
    # The third image of "few" cannot be read, so there are two.
    (photos / "few" / "2.png").write_bytes(b"text")
    result = prepare(photos, tmp_path / "out", PrepareOptions(min_images=3, max_images=4))
    assert result.skipped_reasons == {"max-images": 2, "min-images": 2, "not-an-image": 1}
    records = RecordSet(tmp_path / "out")
    assert records.identities == ["many", "some"]
    names = {records.record(number).name for number in range(len(records))}
    assert names == {f"many/{i}.png" for i in range(4)} | {f"some/{i}.png" for i in range(3)}


def test_a_set_of_pairs_keeps_its_pairs(tmp_path):
    rng = np.random.default_rng(4)
    files = []
    for _ in range(6):
        stream = io.BytesIO()
        pixels = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "JPEG")
        files.append(stream.getvalue())
    # One image is in two pairs, and one image of the last pair is damaged.
    bins = [files[0], files[1], files[2], files[0], files[4], b"no image"]
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((bins, [True, False, True])))
    result = prepare(tmp_path / "lfw.bin", tmp_path / "out")
    assert (result.images, result.identities, result.skipped) == (5, 0, 1)
    rows = (tmp_path / "out" / "pairs.csv").read_text().splitlines()
    assert rows == [
        "first,second,same,fold", "000000.jpg,000001.jpg,1,0", "000002.jpg,000003.jpg,0,1",
    ]  # fmt: skip
    assert set(RecordSet(tmp_path / "out").labels.tolist()) == {-1}


@pytest.mark.slow
@pytest.mark.parametrize("face", ["largest", "central"])
def test_our_alignment_scores_as_the_shipped_one(shared_data, tmp_path, face):
    from gfkeras.data.records.selection import extract
    from gfkeras.evaluation import evaluate_pairs, read_pairs
    from gfkeras.inference import Embedder
    from gfkeras.zoo import import_weights

    network = import_weights(shared_data / "models" / "mobilefacenet_ms1m-0000.params")
    embedder = Embedder(network)
    detector = shared_data / "models" / "face_detection_yunet_2023mar.onnx"
    options = PrepareOptions(align=True, detector=detector, face=face)
    prepare(shared_data / "lfw_raw250", tmp_path / "out", options)
    written, _ = extract(RecordSet(tmp_path / "out"), tmp_path / "files")
    assert written == 807
    accuracy = []
    for folder in (tmp_path / "files", shared_data / "lfw_aligned112"):
        pairs = read_pairs(shared_data / "lfw_lists" / "pairs.txt", folder)
        first_fold = pairs.select(pairs.fold == 0)
        # The protocol needs folds to choose thresholds, so this fold is divided into ten.
        dealt = dataclasses.replace(first_fold, fold=np.arange(600) % 10)
        result = evaluate_pairs(embedder.embed_files, dealt)
        assert result.skipped == 0
        accuracy.append(result.accuracy)
    assert accuracy[0] == pytest.approx(accuracy[1], abs=0.003)
