"""Commands on photos: embeddings, similarities, names and clusters."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from failing_commands import fails
from PIL import Image
from small_networks import SMALL_BOTTLENECKS

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
        gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS),
        embedding_dim=16,
        num_groups=2,
        shared_dim=None,
        group_dim=16,
    )
    return str(network.save_to(tmp_path_factory.mktemp("align") / "model"))


def test_embed(model, photos, wall, yunet, tmp_path, capfd):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:2000])
    sources = [str(photos[0]), str(wall), str(photos[1]), str(broken), *map(str, photos[2:])]
    base = ["--model", model, "--detector", str(yunet), "--face", "central"]
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
    base = ["--model", model]
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
    aligned = [*base, "--aligned"]
    assert "`detector` is only for photos" in fails(capfd, *aligned, "--detector", str(yunet))
    assert "`face` is only for photos" in fails(capfd, *aligned, "--face", "central")
    wrong = [*base, "--face", "centre"]
    assert "did you mean 'central'" in fails(capfd, *wrong)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(yunet.read_bytes()[:1000])
    assert "YuNet" in fails(capfd, *base, "--detector", str(broken))


def test_an_alignment_that_is_offline_says_what_to_do(model, photos, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("GFKERAS_YUNET", raising=False)
    monkeypatch.delenv("GFKERAS_DATA", raising=False)
    monkeypatch.setenv("GFKERAS_OFFLINE", "1")
    monkeypatch.setenv("GFKERAS_CACHE", str(tmp_path))
    arguments = ["compare", str(photos[0]), str(photos[1]), "--model", model]
    error = fails(capfd, *arguments)
    assert str(tmp_path / "face_detection_yunet_2023mar.onnx") in error


def test_a_reader_of_another_size(model, photos, yunet):
    embedder = gfkeras.Embedder(model)
    narrow = FaceAligner(FaceDetector(yunet), size=(112, 96))
    with pytest.raises(ValueError, match=r"`reader` must return .*\(112, 96, 3\), type uint8"):
        embedder.embed_files(photos, reader=narrow)
    with pytest.raises(ValueError, match=r"`reader` must return .*NoneType"):
        embedder.embed_files(photos, reader=lambda path: None)


@pytest.fixture(scope="module")
def people(shared_data, tmp_path_factory) -> Path:
    """A folder per person for six people with at least three photos, and one more photo of each."""
    root = tmp_path_factory.mktemp("people")
    folders = sorted((shared_data / "lfw_raw250").iterdir())
    for folder in [f for f in folders if len(list(f.iterdir())) > 2][:6]:
        for number, photo in enumerate(sorted(folder.iterdir())[:3]):
            place = root / ("probes" if number == 2 else "enrol") / folder.name
            place.mkdir(parents=True, exist_ok=True)
            (place / photo.name).write_bytes(photo.read_bytes())
    return root


@pytest.fixture(scope="module")
def ms1m(shared_data, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("photos") / "ms1m"
    params = shared_data / "models" / "mobilefacenet_ms1m-0000.params"
    assert main(["zoo", "import", str(params), "--out", str(folder)]) == 0
    path = folder.with_suffix(".onnx")
    assert main(["export", str(folder), "--format", "onnx", "--out", str(path)]) == 0
    return str(path)


def test_enroll_and_search_people(ms1m, people, wall, yunet, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("GFKERAS_YUNET", str(yunet))
    gallery, found = str(tmp_path / "faces.gallery"), tmp_path / "r.json"
    names = sorted(folder.name for folder in (people / "enrol").iterdir())
    enroll = ["enroll", str(people / "enrol"), gallery, "--model", ms1m, "--face", "central"]
    assert main([*enroll, "--quiet", "--storage", "int8", "--json", str(found)]) == 0
    results = json.loads(found.read_text())
    assert (results["enrolled"], results["photos"], results["skipped"]) == (6, 12, 0)
    assert main([*enroll, "--quiet", "--json", str(found)]) == 0
    assert json.loads(found.read_text())["already_there"] == names
    # All six in one photo: each is found and named.
    probes = [Image.open(next((people / "probes" / name).iterdir())) for name in names]
    party = Image.new("RGB", (750, 500))
    for number, probe in enumerate(probes):
        party.paste(probe, (number % 3 * 250, number // 3 * 250))
    party.save(tmp_path / "party.jpg", quality=95)
    base = ["search", str(tmp_path / "party.jpg"), gallery, "--model", ms1m, "--top", "2"]
    picture = tmp_path / "party.png"
    assert (
        main([*base, "--threshold", "0.35", "--json", str(found), "--picture", str(picture)]) == 0
    )
    faces = json.loads(found.read_text())["faces"]
    assert {face["name"] for face in faces} >= set(names)
    assert all(len(face["matches"]) == 2 for face in faces)
    with Image.open(picture) as drawn:
        assert drawn.size == (750, 500)
        assert np.abs(np.asarray(drawn, int) - np.asarray(party, int)).max() > 100
    assert main([*base, "--threshold", "0.99", "--json", str(found)]) == 0
    assert {face["name"] for face in json.loads(found.read_text())["faces"]} == {None}
    # A removed person is unknown afterwards.
    assert main(["gallery", "remove", gallery, names[0]]) == 0
    assert main(["gallery", "list", gallery, "--json", str(found)]) == 0
    assert sorted(json.loads(found.read_text())["people"]) == names[1:]
    assert main([*base, "--threshold", "0.35", "--json", str(found)]) == 0
    assert names[0] not in {face["name"] for face in json.loads(found.read_text())["faces"]}
    capfd.readouterr()
    assert "wall.png: no face found" in fails(capfd, "search", str(wall), *base[2:])
    assert "did you mean" in fails(capfd, "gallery", "remove", gallery, names[1][:-1])
    assert "`gallery` must exist" in fails(capfd, *base[:2], "no.gallery", *base[3:])


def test_another_model_is_refused(ms1m, model, people, yunet, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("GFKERAS_YUNET", str(yunet))
    gallery = str(tmp_path / "faces.gallery")
    enroll = ["enroll", str(people / "probes"), gallery, "--quiet", "--model"]
    assert main([*enroll, model]) == 0
    capfd.readouterr()
    assert "embeddings of two models cannot be compared" in fails(capfd, *enroll, ms1m)
    photo = str(next((people / "probes").glob("*/*")))
    wrong = ["search", photo, gallery, "--model", ms1m]
    assert "must be the one that the gallery was made with" in fails(capfd, *wrong)


def test_cluster(ms1m, people, yunet, tmp_path, monkeypatch):
    monkeypatch.setenv("GFKERAS_YUNET", str(yunet))
    out, found = tmp_path / "clusters", tmp_path / "r.json"
    base = ["cluster", str(people), "--model", ms1m, "--out", str(out), "--quiet"]
    assert main([*base, "--json", str(found)]) == 0
    results = json.loads(found.read_text())
    assert results["photos"] == 18
    assert results["clusters"] >= 6
    rows = [line.split(",") for line in (out / "clusters.csv").read_text().splitlines()[1:]]
    assert len(rows) == results["faces"]
    # The three photos of each person share a cluster, and no cluster has two people.
    largest = {}
    for photo, _, _, _, width, _, cluster in rows:
        person = Path(photo).parent.name
        largest.setdefault(person, []).append((float(width), cluster))
    own = {person: {c for _, c in sorted(faces)[-3:]} for person, faces in largest.items()}
    assert all(len(clusters) == 1 and clusters != {"-1"} for clusters in own.values())
    assert len(set.union(*own.values())) == 6
    with Image.open(out / "sheet_001.jpg") as sheet:
        assert sheet.width > 1000
