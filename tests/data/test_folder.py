"""Folders of faces: order, lists of names, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gfkeras.data import FaceFolder, Faces


def write_face(path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((112, 112, 3), value, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    for person in (1, 2, 10, 11):
        for index in (1, 2, 10):
            write_face(tmp_path / f"s{person}" / f"{index}.png", person)
    return tmp_path


def test_natural_order(root):
    folder = FaceFolder(root)
    assert folder.identities == ["s1", "s2", "s10", "s11"]
    assert [path.name for path in folder.paths[:3]] == ["1.png", "2.png", "10.png"]
    assert folder.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert len(folder) == 12


def test_split_holds_out_the_last(root):
    training, heldout = FaceFolder(root).split(2)
    assert training.identities == ["s1", "s2"]
    assert heldout.identities == ["s10", "s11"]
    assert heldout.labels.tolist() == [0] * 3 + [1] * 3
    for holdout in (0, 4, -1):
        with pytest.raises(ValueError, match=f"holdout={holdout}"):
            FaceFolder(root).split(holdout)


def test_orl_is_split_as_documented(shared_data):
    training, heldout = FaceFolder(shared_data / "orl_faces").split(10)
    assert training.identities == [f"s{i}" for i in range(1, 31)]
    assert heldout.identities == [f"s{i}" for i in range(31, 41)]
    assert len(heldout) == 100


def test_names_from_lists_and_files(root, tmp_path):
    assert FaceFolder(root, ["s11", "s2"]).identities == ["s11", "s2"]
    assert FaceFolder(root).select(["s2"]).paths[0] == root / "s2" / "1.png"
    plain, lfw, folds = (tmp_path / f"{name}.txt" for name in ("plain", "lfw", "folds"))
    plain.write_text("s1\n\ns10\n")
    lfw.write_text("2\ns1\t3\ns10\t3\n")
    folds.write_text("2\n1\ns1\t3\n1\ns10\t3\n")
    for file in (plain, lfw, folds):
        assert FaceFolder(root, file).identities == ["s1", "s10"]


def test_a_person_may_be_a_number(tmp_path):
    for person in ("7", "8"):
        write_face(tmp_path / "faces" / person / "a.png")
    (tmp_path / "names.txt").write_text("7\n8\n")
    assert FaceFolder(tmp_path / "faces", tmp_path / "names.txt").identities == ["7", "8"]


def test_unknown_repeated_and_unreadable_names(root, tmp_path):
    with pytest.raises(ValueError, match=r"'s100' \(did you mean 's10'\?\)"):
        FaceFolder(root, ["s1", "s100"])
    with pytest.raises(ValueError, match="'s1' twice"):
        FaceFolder(root, ["s1", "s1"])
    with pytest.raises(ValueError, match=r"names\.txt"):
        FaceFolder(root, tmp_path / "names.txt")


def test_missing_empty_and_imageless_folders(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        FaceFolder(tmp_path / "missing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="0 folders and no usable image"):
        FaceFolder(empty)
    (empty / "person").mkdir()
    (empty / "person" / "notes.txt").write_text("none")
    with pytest.raises(ValueError, match="no usable image"):
        FaceFolder(empty)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is not a folder"):
        FaceFolder(tmp_path / "file")


def test_unused_files_are_listed(root):
    (root / "s1" / "notes.txt").write_text("a")
    (root / "s1" / "old").mkdir()
    (root / "s1" / ".hidden.png").write_text("a")
    (root / "loose.png").write_text("a")
    (root / "nobody").mkdir()
    (root / ".git").mkdir()
    write_face(root / "single" / "1.png")
    folder = FaceFolder(root, min_images=2)
    reasons = {path.name: reason for path, reason in folder.skipped}
    assert reasons == {
        "notes.txt": "not an image of a known format",
        "old": "a folder inside a person's folder",
        ".hidden.png": "hidden, because its name begins with a dot",
        "loose.png": "not in a person's folder",
        "nobody": "no images",
        ".git": "hidden, because its name begins with a dot",
        "single": "fewer images than asked for (1, not 2)",
    }
    assert len(folder) == 12


@pytest.mark.parametrize("workers", [1, 4])
def test_load_skips_unreadable_images(root, workers):
    (root / "s2" / "2.png").write_text("text")
    for index in (1, 2, 10):
        (root / "s10" / f"{index}.png").write_bytes(b"")
    faces = FaceFolder(root).load(workers)
    assert faces.identities == ["s1", "s2", "s11"]
    assert faces.labels.tolist() == [0] * 3 + [1] * 2 + [2] * 3
    assert faces.images[:, 0, 0, 0].tolist() == [1] * 3 + [2] * 2 + [11] * 3
    assert [path.parent.name for path in faces.paths] == ["s1"] * 3 + ["s2"] * 2 + ["s11"] * 3
    reasons = {str(path.relative_to(root)): reason for path, reason in faces.skipped}
    assert reasons["s2/2.png"] == "not an image of a known format"
    assert reasons["s10"] == "no usable image"
    assert len(reasons) == 5


def test_images_of_another_size_are_left_out_unless_resizing_is_asked_for(root):
    Image.new("RGB", (92, 112)).save(root / "s2" / "2.png")
    faces = FaceFolder(root).load()
    assert (len(faces), faces.resized) == (11, 0)
    ((path, reason),) = faces.skipped
    assert path == root / "s2" / "2.png"
    assert "92x112 pixels, not an aligned face of 112x112" in reason
    faces = FaceFolder(root).load(resize=True)
    assert (len(faces), faces.resized, faces.skipped) == (12, 1, [])


def test_load_with_nothing_readable(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_text("text")
    with pytest.raises(ValueError, match=r"None of the 1 images.*1\.jpg: not an image"):
        FaceFolder(tmp_path).load()


def test_faces_check_their_labels():
    images = np.zeros((3, 112, 112, 3), np.uint8)
    assert Faces(images, [0, 2, 2]).identities == ["0", "1", "2"]
    for labels, message in [
        ([0, 1], "2 labels and 3 images"),
        ([0.0, 1.0, 2.0], "integers"),
        ([0, -1, 1], r"-1…1"),
    ]:
        with pytest.raises(ValueError, match=message):
            Faces(images, labels)
    with pytest.raises(ValueError, match="0…1, one for each of the 2 identities"):
        Faces(images, [0, 1, 2], ["a", "b"])
    with pytest.raises(ValueError, match=r"at least two identities.*Received: 1 with 3"):
        Faces(images, [0, 0, 0]).require_trainable()


def test_faces_select_and_split():
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((112, 112, 3), np.uint8)
    faces = Faces(images, [0, 0, 1, 1, 2, 2], ["a", "b", "c"])
    chosen = faces.select([2, 0])
    assert chosen.identities == ["c", "a"]
    assert chosen.labels.tolist() == [1, 1, 0, 0]
    assert chosen.images[:, 0, 0, 0].tolist() == [0, 1, 4, 5]
    first, last = faces.split(1)
    assert (first.identities, last.identities) == (["a", "b"], ["c"])


def test_a_folder_name_with_a_digit_that_is_not_a_number(tmp_path):
    for name in ("²", "2"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (112, 112)).save(tmp_path / name / "a.png")
    assert set(FaceFolder(tmp_path).identities) == {"2", "²"}
