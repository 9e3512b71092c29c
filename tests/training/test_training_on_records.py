"""Training from records: the same as from the folder, with streaming, resuming and damage."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gfkeras
from gfkeras.data import RecordSet
from gfkeras.data.alignment import FaceAligner, FaceDetector
from gfkeras.data.prepare import PrepareOptions, prepare
from gfkeras.inference import Embedder
from gfkeras.training import Recipe, train


@pytest.fixture(scope="module")
def photos(tmp_path_factory, tiny_faces) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for index, (image, label) in enumerate(zip(tiny_faces.images, tiny_faces.labels, strict=True)):
        (root / f"p{label}").mkdir(exist_ok=True)
        Image.fromarray(image).save(root / f"p{label}" / f"{index}.jpg")
    return root


def weights(folder: Path) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in gfkeras.load(folder).weights]


def losses(run: Path) -> list[float]:
    with (run / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_records_train_as_the_folder_does(photos, tmp_path, tiny_recipe, pooled):
    # In the order of the source, folder and records number the images alike. The batches are the
    # same.
    out = tmp_path / "records"
    prepare(photos, out, PrepareOptions(shuffle=False, holdout=2), workers=1)
    recipe = Recipe.parse(tiny_recipe, ["training.epochs=2"])
    streamed = train(recipe, out, tmp_path / "streamed", verbose=0)
    loaded = train(recipe, photos, tmp_path / "loaded", verbose=0)
    assert (streamed.images, streamed.heldout_images) == (16, 8)
    # The optimizer of the recipe divides by small gradients, which magnifies rounding.
    for ours, theirs in zip(losses(streamed.out), losses(loaded.out), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.slow
def test_a_run_on_records_resumes_to_the_same_weights(photos, tmp_path, tiny_recipe):
    out = tmp_path / "records"
    prepare(photos, out, workers=1)
    tiny_recipe["augmentation"] = [{"name": "color", "brightness_factor": 0.1}]
    recipe = Recipe.parse(tiny_recipe)
    whole = train(recipe, out, tmp_path / "whole", verbose=0)
    # The run is stopped instead of shortened, because the schedule depends on the number of epochs.
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, out, tmp_path / "run", verbose=0, callbacks=[Stop()])
    resumed = train(recipe, out, tmp_path / "run", resume=True, verbose=0)
    for ours, theirs in zip(weights(resumed.last), weights(whole.last), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_damaged_record_is_listed(photos, tmp_path, tiny_recipe, pooled):
    out = tmp_path / "records"
    prepare(photos, out, PrepareOptions(holdout=2), workers=1)
    (name,) = (shard.file for shard in RecordSet(out).manifest.splits["train"].shards)
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    recipe = Recipe.parse(tiny_recipe, ["training.epochs=1"])
    result = train(recipe, out, tmp_path / "run", verbose=0)
    assert result.skipped == 1
    with (tmp_path / "run" / "skipped.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert "checksum" in row["reason"]


def test_records_need_the_size_of_the_network(shared_data, tmp_path, tiny_recipe):
    detector = shared_data / "models" / "face_detection_yunet_2023mar.onnx"
    photos = tmp_path / "photos"
    for person in sorted((shared_data / "lfw_raw250").iterdir())[:3]:
        (photos / person.name).mkdir(parents=True)
        for photo in person.iterdir():
            (photos / person.name / photo.name).write_bytes(photo.read_bytes())
    options = PrepareOptions(align=True, detector=detector, size=(112, 96))
    prepare(photos, tmp_path / "records", options, workers=1)
    assert RecordSet(tmp_path / "records").decode([0])[0].shape == (1, 112, 96, 3)
    changes = ["training.epochs=1", "training.batch_size=2"]
    tiny_recipe["data"] = {}
    recipe = Recipe.parse(tiny_recipe, changes)
    with pytest.raises(ValueError, match=r"112x112 pixels.*takes. Received: 112x96"):
        train(recipe, tmp_path / "records", tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
    tiny_recipe["model"]["backbone"] = {"name": "SphereFaceNet4", "width": 0.0625}
    recipe = Recipe.parse(tiny_recipe, changes)
    result = train(recipe, tmp_path / "records", tmp_path / "run", verbose=0)
    embedder = Embedder(result.last)
    assert embedder.image_size == (112, 96)
    photo = next((tmp_path / "photos").glob("*/*"))
    found = embedder.embed_photos([photo], FaceAligner(FaceDetector(detector), size=(112, 96)))
    assert found.embeddings.embedding.shape == (1, 16)
    with pytest.raises(ValueError, match=r"must have shape \(N, 112, 96, 3\)"):
        embedder(np.zeros((1, 112, 112, 3), np.uint8))
