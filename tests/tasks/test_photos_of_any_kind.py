"""Results for photos that are small, rotated or not aligned."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from gfkeras.cli import main
from gfkeras.data import read_photo
from gfkeras.inference import Embedder
from gfkeras.tasks.compare import compare
from gfkeras.tasks.embed import embed
from gfkeras.tasks.enroll import enroll
from gfkeras.tasks.search import search

PEOPLE = ("Akhmed_Zakayev", "Abel_Pacheco", "Amber_Tamblyn")


@pytest.fixture(autouse=True)
def detector(shared_data, monkeypatch):
    """Uses the detector file in the folder of the photos."""
    monkeypatch.setenv("GFKERAS_DATA", str(shared_data))


@pytest.fixture(scope="module")
def photos(shared_data):
    """Two photos of 250×250 of each person."""
    return {name: sorted((shared_data / "lfw_raw250" / name).glob("*.jpg"))[:2] for name in PEOPLE}


@pytest.fixture(scope="module")
def people(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for name, files in photos.items():
        (root / name).mkdir()
        for file in files:
            shutil.copy(file, root / name)
    return root


def shrunk(file, width: float, size: tuple[int, int]) -> np.ndarray:
    """A large grey photo that contains a photo of LFW, whose face is about 110 pixels wide."""
    scale = width / 110
    small = cv2.resize(read_photo(file), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    large = np.full((size[1], size[0], 3), 120, np.uint8)
    large[200 : 200 + small.shape[0], 300 : 300 + small.shape[1]] = small
    return large


def test_compare_takes_photos_in_any_form(photos):
    first, second = photos[PEOPLE[0]]
    expected = compare(first, second)
    forms = (str(second), second.read_bytes(), Image.open(second), read_photo(second))
    for form in forms:
        assert compare(first, form).similarity == pytest.approx(expected.similarity, abs=1e-5)
    for wrong in (None, 5, {}):
        with pytest.raises(ValueError, match="`photo` must be a photo"):
            compare(first, wrong)
    with pytest.raises(ValueError, match="no such file"):
        compare(first, "no.jpg")


def test_compare_with_a_turned_photo(photos, tmp_path, capfd):
    first, second = photos[PEOPLE[0]]
    turned = tmp_path / "turned.png"
    Image.open(second).transpose(Image.Transpose.ROTATE_90).save(turned)
    found = compare(first, turned)
    assert found.rotated == (0, 90)
    assert found.similarity == pytest.approx(compare(first, second).similarity, abs=0.05)
    file = tmp_path / "c.json"
    assert main(["compare", str(first), str(turned), "--json", str(file)]) == 0
    assert "by 0° and 90°" in capfd.readouterr().out
    assert json.loads(file.read_text())["rotated"] == [0, 90]


def test_a_face_that_is_too_small_decides_nothing(photos, tmp_path, capfd):
    first, other = photos[PEOPLE[0]][0], photos[PEOPLE[1]][0]
    small = tmp_path / "small.png"
    Image.fromarray(shrunk(other, 22, (800, 600))).save(small)
    found = compare(first, small)
    assert found.to_json()["too_small"] == [False, True]
    assert found.to_json()["eye_distance"][1] < 14 < found.to_json()["eye_distance"][0]
    assert (found.same, found.verdict) == (None, "No decision: a face is too small")
    # Small faces of different people look alike.
    both = compare(small, small)
    assert (both.similarity > 0.99, both.same, len(both.unsure_faces)) == (True, None, 2)
    assert main(["compare", str(first), str(small)]) == 0
    said = capfd.readouterr().out
    assert "the face is too small" in said
    assert "Different people" not in said
    found = embed([first, small], tmp_path / "e.npz")
    assert list(found.too_small) == [str(small)]
    assert "too small" in found.notes[0]


def test_galleries_report_small_and_rotated_faces(photos, tmp_path, capfd):
    people = tmp_path / "people"
    small = people / "small" / "1.png"
    small.parent.mkdir(parents=True)
    Image.fromarray(shrunk(photos[PEOPLE[1]][0], 22, (800, 600))).save(small)
    Image.open(photos[PEOPLE[0]][0]).rotate(90).save(people / "turned.png")
    gallery = str(tmp_path / "faces.gallery")
    done = enroll(people, gallery)
    assert list(done.to_json()["too_small"]) == [str(small)]
    turned = search(people / "turned.png", gallery).to_json()["faces"][0]
    assert (turned["rotated"], turned["too_small"]) == (90, False)
    assert turned["matches"][0]["name"] == "turned"
    assert search(read_photo(small), gallery).faces[0].too_small
    assert main(["search", str(small), gallery]) == 0
    assert "Too small" in capfd.readouterr().out


def test_unaligned_photos_are_never_squeezed(photos, people, tmp_path, capfd):
    files = [file for pair in photos.values() for file in pair]
    said = "250x250 pixels, not an aligned face of 112x112"
    found = Embedder("h_groupface_mobilefacenet").embed_files(files)
    assert len(found.index) == 0
    assert all(said in reason for _, reason in found.skipped)
    commands = (
        ("embed", *files, "--aligned", "--out", tmp_path / "e.npz"),
        ("compare", *files[:2], "--aligned"),
        ("enroll", people, tmp_path / "g.gallery", "--aligned"),
        ("evaluate", "h_groupface_mobilefacenet", "--data", people, "--pairs", "all"),
        ("prepare", people, tmp_path / "records", "--quiet"),
    )
    for command in commands:
        assert main([str(part) for part in command]) == 2
        error = capfd.readouterr().err
        assert said in error
        assert "--align" in error
    squeezed = ("--resize", "--bootstrap", "0")
    evaluate = [str(part) for part in commands[3]]
    assert main([*evaluate, *squeezed]) == 0
    with pytest.raises(ValueError, match="not an aligned face"):
        compare(files[0], files[1], aligned=True)
