"""Formats detected from the files at a path."""

from __future__ import annotations

import pickle

import pytest
from recordio_writer import write_insightface

from gfkeras.data.sources import SOURCES, Source, TFDSSource, detect_format, open_source


def write(path, content: str | bytes = b"image"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def data(tmp_path):
    """Writes one small data set of every format that needs no extra package."""
    write(tmp_path / "folder" / "Ana" / "Ana_0001.jpg")
    write(tmp_path / "folder" / "Ana" / "Ana_0002.jpg")
    write(tmp_path / "folder" / "Bo" / "Bo_0001.jpg")
    write(tmp_path / "lists" / "a.jpg")
    write(tmp_path / "lists" / "list.csv", "path\na.jpg\n")
    write(tmp_path / "lists" / "list.TSV", "path\tlabel\na.jpg\t1\n")
    write(tmp_path / "lists" / "train.lst", "0\t1.000000\ta.jpg\n")
    write(tmp_path / "pairs.txt", "1\nAna 1 2\nAna 1 Bo 1\n")
    write_insightface(tmp_path / "recordio", [[b"a"], [b"b"]])
    write(tmp_path / "recordio" / "lfw.bin", pickle.dumps(([b"a", b"b"], [True])))
    points = " ".join("1" * 10)
    write(tmp_path / "ijb" / "loose_crop" / "1.jpg")
    write(tmp_path / "ijb" / "meta" / "ijbc_face_tid_mid.txt", "1.jpg 1 1\n")
    write(tmp_path / "ijb" / "meta" / "ijbc_name_5pts_score.txt", f"1.jpg {points} 0.5\n")
    write(tmp_path / "ytf" / "frame_images_DB" / "A" / "0" / "0.1.jpg")
    write(tmp_path / "megaface" / "FlickrFinal2" / "1" / "2" / "a.jpg")
    write(tmp_path / "facescrub" / "facescrub_images" / "A" / "a.jpg")
    write(tmp_path / "celeba" / "img_align_celeba" / "000001.jpg")
    write(tmp_path / "celeba" / "identity_CelebA.txt", "000001.jpg 2880\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "format_", "count"),
    [
        ("folder", "folder", 3),
        ("lists/list.csv", "list", 1),
        ("lists/list.TSV", "list", 1),
        ("lists/train.lst", "lst", 1),
        ("recordio", "recordio", 2),
        ("recordio/train.rec", "recordio", 2),
        ("recordio/lfw.bin", "bin", 2),
        ("ijb", "ijb", 1),
        ("ytf", "ytf", 1),
        ("megaface", "megaface", 1),
        ("facescrub", "megaface", 1),
        ("celeba", "celeba", 1),
        ("celeba/identity_CelebA.txt", "celeba", 1),
    ],
)
def test_the_format_is_detected(data, name, format_, count):
    source = open_source(data / name)
    assert isinstance(source, Source)
    assert source.format == detect_format(data / name) == format_
    items = list(source.items())
    assert len(items) == count
    assert len({item.name for item in items}) == count
    assert all(source.read(item.locator) for item in items)
    assert source.describe()["format"] == format_
    assert isinstance(open_source(data / name, format=format_), type(source))


def test_lfw_pairs_need_a_root(data):
    source = open_source(data / "pairs.txt", root=data / "folder")
    assert source.format == "lfw-pairs"
    assert len(list(source.items())) == 3
    with pytest.raises(ValueError, match="`root` must be the folder of the images"):
        open_source(data / "pairs.txt")


def test_every_format_has_its_own_name():
    assert [source.format for source in SOURCES.values()] == list(SOURCES)


def test_options_and_an_explicit_format(data):
    source = open_source(data / "megaface", part="megaface")
    assert source.part == "megaface"
    assert open_source(data / "ytf", format="folder").format == "folder"
    with pytest.raises(
        ValueError, match="Unknown option of format 'megaface' 'prat'; did you mean"
    ):
        open_source(data / "megaface", prat="megaface")
    with pytest.raises(ValueError, match="Unknown format 'folders'; did you mean 'folder'"):
        open_source(data / "folder", format="folders")


def test_unknown_formats(data, tmp_path):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "movie.mp4")
    with pytest.raises(ValueError, match="a folder without folders") as caught:
        open_source(tmp_path / "empty")
    assert "recordio" in str(caught.value)
    with pytest.raises(ValueError, match=r"a file that ends with '\.mp4'"):
        open_source(tmp_path / "movie.mp4")
    with pytest.raises(ValueError, match=r"does not exist .did you mean 'recordio'"):
        open_source(data / "recordoi")


def test_tensorflow_datasets_by_name_and_folder(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        TFDSSource, "__init__", lambda self, name, split="train": opened.append((name, split))
    )
    open_source("tfds:lfw", split="test")
    write(tmp_path / "lfw" / "0.1.1" / "dataset_info.json", "{}")
    open_source(tmp_path / "lfw" / "0.1.1")
    assert opened == [("lfw", "test"), (str(tmp_path / "lfw" / "0.1.1"), "train")]
