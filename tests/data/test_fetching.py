"""Public data sets from a local server with small copies."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
import typer
from download_server import Server, running
from PIL import Image

from gfkeras.cli import data as data_command
from gfkeras.data import FaceFolder, fetching
from gfkeras.data.fetching import DATA_SETS, fetch, fetchable
from gfkeras.downloads import DownloadError, cache_folder, transfer


def archive(names: list[str]) -> bytes:
    """Returns a .tgz with an image under each name."""
    buffer = io.BytesIO()
    rng = np.random.default_rng(0)
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            image = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(image, "PNG")
            info = tarfile.TarInfo(name)
            info.size = image.tell()
            image.seek(0)
            tar.addfile(info, image)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    """Serves a small LFW and a complete Olivetti under the paths of the real ones."""
    from scipy.io import savemat

    people = [f"lfw_funneled/A_B/A_B_000{n}.jpg" for n in (1, 2)]
    mat = io.BytesIO()
    faces = np.random.default_rng(1).integers(0, 200, (4096, 400)).astype(np.uint8)
    savemat(mat, {"faces": faces})
    contents = {
        "lfw-funneled.tgz": archive([*people, "lfw_funneled/C_D/C_D_0001.jpg"]),
        "pairs.txt": b"10\t300\n",
        "pairsDevTrain.txt": b"1100\n",
        "pairsDevTest.txt": b"500\n",
        "olivettifaces.mat": mat.getvalue(),
    }
    monkeypatch.setattr(transfer, "BACKOFF", 0.01)
    monkeypatch.setenv("GFKERAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GFKERAS_OFFLINE", raising=False)
    with running(Server()) as server:
        server.faces = faces
        monkeypatch.setenv("GFKERAS_MIRROR", server.url.removesuffix("/some/file.bin"))
        for name, data_set in DATA_SETS.items():
            files = []
            for file in data_set.files:
                content = contents[file.name]
                server.files[urlsplit(file.url).path] = content
                digest = hashlib.sha256(content).hexdigest()
                files.append(dataclasses.replace(file, sha256=digest))
            small = dataclasses.replace(data_set, files=tuple(files))
            monkeypatch.setitem(fetching.DATA_SETS, name, small)
        yield server


def test_addresses_and_hashes_are_scikit_learns():
    lfw = pytest.importorskip("sklearn.datasets._lfw")
    olivetti = pytest.importorskip("sklearn.datasets._olivetti_faces")
    published = (lfw.FUNNELED_ARCHIVE, *lfw.TARGETS, olivetti.FACES)
    assert {(file.filename, file.url, file.checksum) for file in published} == {
        (file.name, file.url, file.sha256)
        for data_set in DATA_SETS.values()
        for file in data_set.files
    }


def test_lfw(server, tmp_path):
    faces = fetch("lfw", tmp_path / "lfw")
    assert faces == tmp_path / "lfw" / "lfw_funneled"
    assert FaceFolder(faces).identities == ["A_B", "C_D"]
    assert len(FaceFolder(faces).paths) == 3
    assert (tmp_path / "lfw" / "pairs.txt").read_bytes() == b"10\t300\n"
    assert (tmp_path / "lfw" / "pairsDevTest.txt").is_file()
    note = json.loads((tmp_path / "lfw" / "fetched.json").read_text(encoding="utf-8"))
    assert note["name"] == "lfw"
    assert "Massachusetts" in note["terms"]
    # The archive is deleted after unpacking, and an existing result is not downloaded again.
    assert not list((cache_folder() / "archives" / "lfw").glob("*.tgz"))
    assert len(server.requests) == 4
    assert fetch("lfw", tmp_path / "lfw") == faces
    assert len(server.requests) == 4


def test_olivetti(server):
    faces = fetch("olivetti")
    assert faces == cache_folder() / "datasets" / "olivetti"
    folder = FaceFolder(faces)
    assert folder.identities == [f"s{n}" for n in range(1, 41)]
    assert len(folder.paths) == 400
    image = np.asarray(Image.open(faces / "s3" / "10.png"))
    assert image.dtype == np.uint8
    # MATLAB stores columns first.
    assert np.array_equal(image, server.faces[:, 29].reshape(64, 64).T)


def test_olivetti_is_what_scikit_learn_gives(server, tmp_path, monkeypatch):
    olivetti = pytest.importorskip("sklearn.datasets._olivetti_faces")
    file = DATA_SETS["olivetti"].files[0]
    (tmp_path / file.name).write_bytes(server.files[urlsplit(file.url).path])
    monkeypatch.setattr(olivetti, "FACES", olivetti.FACES._replace(checksum=file.sha256))
    expected = olivetti.fetch_olivetti_faces(data_home=tmp_path)
    paths = FaceFolder(fetch("olivetti")).paths
    ours = np.stack([np.asarray(Image.open(path)) for path in paths]).astype(np.float32)
    np.testing.assert_allclose(ours / ours.max(), expected.images, atol=1e-6)


def test_a_cut_download_is_continued(server, tmp_path):
    server.cuts = [1000, 2000]
    assert fetch("lfw", tmp_path / "lfw").is_dir()
    assert server.asked_ranges()[:3] == [None, "bytes=1000-", "bytes=3000-"]
    assert server.sent == sum(
        len(server.files[urlsplit(file.url).path]) for file in DATA_SETS["lfw"].files
    )


def test_wrong_hash_and_lasting_failure_leave_nothing(server, tmp_path):
    path = urlsplit(DATA_SETS["lfw"].files[0].url).path
    good = server.files[path]
    server.files[path] = archive(["lfw_funneled/E_F/E_F_0001.jpg"])
    with pytest.raises(DownloadError, match=r"wrong content.*expected SHA-256"):
        fetch("lfw", tmp_path / "lfw")
    server.files[path] = good
    server.statuses = [503] * 30
    with pytest.raises(DownloadError, match="503"):
        fetch("lfw", tmp_path / "lfw")
    assert not (tmp_path / "lfw").exists()
    server.statuses = [503]
    assert fetch("lfw", tmp_path / "lfw").is_dir()


def test_a_wrong_archive_leaves_nothing(server, tmp_path, monkeypatch):
    data_set = DATA_SETS["lfw"]
    for content in (archive(["other/E_F_0001.jpg"]), archive(["../out.jpg"]), b"no archive"):
        file = data_set.files[0]
        server.files[urlsplit(file.url).path] = content
        file = dataclasses.replace(file, sha256=hashlib.sha256(content).hexdigest())
        changed = dataclasses.replace(data_set, files=(file, *data_set.files[1:]))
        monkeypatch.setitem(fetching.DATA_SETS, "lfw", changed)
        with pytest.raises(DownloadError, match="cannot be unpacked to"):
            fetch("lfw", tmp_path / "a" / "lfw")
        assert list((tmp_path / "a").iterdir()) == []
        assert not (tmp_path / "out.jpg").exists()


def test_existing_files_are_not_overwritten(server, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(ValueError, match="`out` must be a new or empty folder"):
            fetch("olivetti", out)
    assert server.requests == []
    (tmp_path / "empty").mkdir()
    assert fetch("olivetti", tmp_path / "empty") == tmp_path / "empty"


def test_names():
    assert set(fetchable()) == {"lfw", "olivetti", "yunet"}
    with pytest.raises(ValueError, match="Unknown data set 'lwf'; did you mean 'lfw'"):
        fetch("lwf")


def test_yunet(server, tmp_path, monkeypatch):
    from gfkeras.data.alignment import detector

    server.files[urlsplit(detector.YUNET_URL).path] = b"a network"
    with pytest.raises(DownloadError, match="wrong content"):
        fetch("yunet")
    monkeypatch.setattr(detector, "YUNET_SHA256", hashlib.sha256(b"a network").hexdigest())
    assert fetch("yunet") == cache_folder() / detector.YUNET_NAME
    assert fetch("yunet", tmp_path / "models").parent == tmp_path / "models"


def test_the_detector_downloads_itself_once(server, shared_data, monkeypatch):
    from gfkeras.data.alignment import FaceDetector, detector

    for name in ("GFKERAS_YUNET", "GFKERAS_DATA"):
        monkeypatch.delenv(name, raising=False)
    content = (shared_data / "models" / detector.YUNET_NAME).read_bytes()
    server.files[urlsplit(detector.YUNET_URL).path] = content
    for _ in range(2):
        assert len(FaceDetector().detect(np.zeros((50, 50, 3), np.uint8))) == 0
    assert len(server.requests) == 1


def test_command(server, tmp_path, capfd):
    app = typer.Typer()
    app.add_typer(data_command.app, name="data")
    out, found = str(tmp_path / "o"), tmp_path / "r.json"
    arguments = ["data", "fetch", "olivetti", "--out", out, "--json", str(found)]
    app(arguments, standalone_mode=False)
    assert "400 images of 40 people" in capfd.readouterr().out
    results = json.loads(found.read_text())
    assert results["path"] == out
    assert (results["images"], results["people"]) == (400, 40)
    app(["data", "fetch"], standalone_mode=False)
    assert "Labeled Faces in the Wild" in capfd.readouterr().out
