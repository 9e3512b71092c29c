"""`--align`: photos in, embeddings and similarities out."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import gfkeras
from gfkeras.cli import main
from gfkeras.data.alignment import FaceAligner, FaceDetector

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the command line runs on TensorFlow"
)


@pytest.fixture(scope="module")
def yunet(shared_data) -> Path:
    return shared_data / "models" / "face_detection_yunet_2023mar.onnx"


@pytest.fixture(scope="module")
def photos(shared_data) -> list[Path]:
    return sorted((shared_data / "lfw_raw250").glob("*/*.jpg"))[:5]


@pytest.fixture(scope="module")
def wall(tmp_path_factory) -> Path:
    """A photo without a face."""
    path = tmp_path_factory.mktemp("align") / "wall.png"
    Image.new("RGB", (300, 200), "grey").save(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """An untrained GroupFace in a folder."""
    keras.utils.set_random_seed(0)
    network = gfkeras.GroupFace(
        gfkeras.backbones.MobileFaceNet(width=0.0625),
        embedding_dim=16,
        num_groups=2,
        shared_dim=None,
        group_dim=16,
    )
    return str(network.save_to(tmp_path_factory.mktemp("align") / "model"))


def fails(capfd, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("gfkeras: error: ")
    assert "\n" not in error
    return error


def test_embed(model, photos, wall, yunet, tmp_path, capfd):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:2000])
    sources = [str(photos[0]), str(wall), str(photos[1]), str(broken), *map(str, photos[2:])]
    base = ["--model", model, "--align", "--detector", str(yunet), "--face", "central"]
    found = tmp_path / "r.json"
    out = tmp_path / "e.npz"
    assert main(["embed", *sources, *base, "--out", str(out), "--json", str(found)]) == 0
    printed = capfd.readouterr()
    assert f"skipped {wall}: no face found" in printed.out
    assert "broken.jpg: damaged or unreadable" in printed.out
    assert printed.err == ""
    results = json.loads(found.read_text())
    assert (results["images"], results["skipped"]) == (5, 2)
    aligner = FaceAligner(FaceDetector(yunet), choose="central")
    expected = gfkeras.Embedder(model)(np.stack([aligner(path) for path in photos]))
    with np.load(out) as stored:
        assert [Path(path).name for path in stored["path"]] == [path.name for path in photos]
        np.testing.assert_allclose(stored["embedding"], expected.embedding, atol=1e-5)
    only = ["embed", str(wall), *base, "--out", str(out)]
    assert "None of the 1 images can be used" in fails(capfd, *only)


def test_compare(model, photos, wall, yunet, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("GFKERAS_YUNET", str(yunet))
    base = ["--model", model, "--align"]
    found = tmp_path / "r.json"
    first = tmp_path / "first.png"
    Image.open(photos[0]).rotate(12, Image.Resampling.BICUBIC).save(first)
    assert main(["compare", str(photos[0]), str(first), *base, "--json", str(found)]) == 0
    assert "Faces in the photos" in capfd.readouterr().out
    results = json.loads(found.read_text())
    assert len(results["faces"]) == 2
    assert min(results["faces"]) >= 1
    assert -1 <= results["cosine"] <= 1
    assert "wall.png: no face found" in fails(capfd, "compare", str(photos[0]), str(wall), *base)
    assert "none.jpg: no such file" in fails(capfd, "compare", str(photos[0]), "none.jpg", *base)


def test_wrong_options(model, photos, yunet, tmp_path, capfd):
    base = ["compare", str(photos[0]), str(photos[1]), "--model", model]
    assert "`detector` needs --align" in fails(capfd, *base, "--detector", str(yunet))
    assert "`face` needs --align" in fails(capfd, *base, "--face", "central")
    wrong = [*base, "--align", "--face", "centre"]
    assert "did you mean 'central'" in fails(capfd, *wrong)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(yunet.read_bytes()[:1000])
    assert "YuNet" in fails(capfd, *base, "--align", "--detector", str(broken))


def test_an_alignment_that_is_offline_says_what_to_do(model, photos, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("GFKERAS_YUNET", raising=False)
    monkeypatch.setenv("GFKERAS_OFFLINE", "1")
    monkeypatch.setenv("GFKERAS_CACHE", str(tmp_path))
    arguments = ["compare", str(photos[0]), str(photos[1]), "--model", model, "--align"]
    error = fails(capfd, *arguments)
    assert str(tmp_path / "face_detection_yunet_2023mar.onnx") in error


def test_a_reader_of_another_size(model, photos, yunet):
    embedder = gfkeras.Embedder(model)
    narrow = FaceAligner(FaceDetector(yunet), size=(112, 96))
    with pytest.raises(ValueError, match=r"`reader` must return .*\(112, 96, 3\), type uint8"):
        embedder.embed_files(photos, reader=narrow)
    with pytest.raises(ValueError, match=r"`reader` must return .*NoneType"):
        embedder.embed_files(photos, reader=lambda path: None)
