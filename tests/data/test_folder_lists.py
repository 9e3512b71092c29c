"""Lists of images, read, written, and used by a folder."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gfkeras.data import FaceFolder
from gfkeras.data.folder import read_image_list, write_image_list


@pytest.fixture
def root(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/10.png", "c/1.png"):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((112, 112, 3), len(name), np.uint8)).save(path)
    return tmp_path / "faces"


def test_a_list_round_trips(tmp_path):
    images = {"b/x y.png": "b", "a/1.png": "b", "deep/er/1.png": "Zoë Q", "loose.png": "a"}
    path = tmp_path / "list.txt"
    write_image_list(path, images.items())
    assert read_image_list(path) == images
    assert list(read_image_list(path)) == list(images)
    assert path.read_text("utf-8").splitlines()[:2] == ["b/x y.png", "a/1.png\tb"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../b/1.png", "line 2: expected a path below"),
        ("/etc/passwd\ta", "line 2: expected a path below"),
        ("1.png", "line 2: expected PERSON/FILE"),
        ("a/1.png", "line 2: expected each image once"),
        ("\ta", "line 2: expected a path below"),
    ],
)
def test_lines_that_are_refused(tmp_path, line, message):
    path = tmp_path / "list.txt"
    path.write_text(f"a/1.png\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_image_list(path)


def test_unusable_lists(tmp_path):
    with pytest.raises(ValueError, match="`images` must be a text file"):
        read_image_list(tmp_path / "missing.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="at least one image"):
        read_image_list(tmp_path / "empty.txt")


def test_a_folder_takes_the_images_and_names_of_a_list(root):
    images = {"c/1.png": "c", "b/10.png": "a", "a/2.png": "a"}
    folder = FaceFolder(root, images=images)
    assert folder.identities == ["c", "a"]
    assert folder.labels.tolist() == [0, 1, 1]
    assert folder.listed() == list(images.items())
    assert dict(FaceFolder(root, images=dict(FaceFolder(root).listed())).listed()) == dict(
        FaceFolder(root).listed()
    )
    # Selections and splits are made from the list.
    assert folder.select(["a"]).listed() == [("b/10.png", "a"), ("a/2.png", "a")]
    training, heldout = FaceFolder(root, images={**images, "b/1.png": "b"}).split(1)
    assert (training.identities, heldout.identities) == (["c", "a"], ["b"])
    assert FaceFolder(root, images=images, min_images=2).identities == ["a"]
    with pytest.raises(ValueError, match=r"`images` must name files below.*'a/7.png' and 1 more"):
        FaceFolder(root, images={"a/7.png": "a", "a/8.png": "a", "a/1.png": "a"})
