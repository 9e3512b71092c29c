"""CelebA by its list of people: both layouts, parts, landmarks, and wrong lists."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from data_sets import jpegs
from PIL import Image

from gfkeras.data import RecordSet
from gfkeras.data.alignment import face_template
from gfkeras.data.sources import CelebASource, Item, Refused, open_source
from gfkeras.tasks.prepare import prepare

PEOPLE = "000001.jpg 2880\n000002.jpg 2937\n000003.jpg 2880\n"


def write(path, content: bytes | str = b"image"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "CelebA"
    for number in (1, 2, 3):
        write(root / "img_align_celeba" / f"00000{number}.jpg", f"{number}".encode())
    write(root / "identity_CelebA.txt", PEOPLE)
    return root


def identities(source) -> dict[str, str | None]:
    return {item.name: item.identity for item in source.items() if isinstance(item, Item)}


def test_people_of_the_list(folder):
    source = CelebASource(folder)
    expected = {"000001.jpg": "2880", "000002.jpg": "2937", "000003.jpg": "2880"}
    by_file = CelebASource(folder / "identity_CelebA.txt")
    assert identities(source) == identities(by_file) == expected
    assert source.read("000002.jpg") == b"2"
    assert source.pairs() is None
    assert json.loads(json.dumps(source.describe()))["landmarks"] is None
    # Images of another place, such as aligned ones.
    write(folder.parent / "aligned" / "000001.jpg", b"aligned")
    other = CelebASource(folder, root=folder.parent / "aligned")
    assert other.read("000001.jpg") == b"aligned"


@pytest.mark.parametrize("images", ["Img/img_align_celeba", "img_align_celeba/img_align_celeba"])
def test_other_layouts(tmp_path, images):
    write(tmp_path / images / "000001.jpg", b"1")
    write(tmp_path / "Anno" / "identity_CelebA.txt", PEOPLE)
    for path in (tmp_path, tmp_path / "Anno" / "identity_CelebA.txt"):
        source = open_source(path)
        assert source.format == "celeba"
        assert source.read("000001.jpg") == b"1"


def test_parts(folder):
    write(folder / "list_eval_partition.txt", "000001.jpg 0\n000002.jpg 1\n000003.jpg 0\n")
    assert list(identities(CelebASource(folder, part="train"))) == ["000001.jpg", "000003.jpg"]
    assert list(identities(CelebASource(folder, part="val"))) == ["000002.jpg"]
    assert identities(CelebASource(folder, part="test")) == {}


def test_prepare_aligns_by_the_list_of_landmarks(shared_data, tmp_path):
    root = tmp_path / "CelebA"
    photo = Image.new("RGB", (178, 218))
    photo.paste(Image.open(io.BytesIO(jpegs()[0])), (40, 60))
    (root / "img_align_celeba").mkdir(parents=True)
    photo.save(root / "img_align_celeba" / "000001.jpg", quality=95)
    points = (face_template() + [40, 60]).reshape(-1)
    rows = ["1", "lefteye_x lefteye_y", "000001.jpg " + " ".join(f"{v:.4f}" for v in points)]
    write(root / "list_landmarks_align_celeba.txt", "\n".join(rows))
    write(root / "identity_CelebA.txt", PEOPLE)
    detector = shared_data / "models" / "face_detection_yunet_2023mar.onnx"
    made = prepare(
        root, tmp_path / "records", align=True, detector=detector, workers=1, shuffle=False
    )
    # Two images of the list are missing. They are listed, not silently left out.
    assert (made.images, made.identities, made.skipped) == (1, 1, 2)
    assert {reason for _, reason in made.skipped_files} == {"no such file"}
    aligned = RecordSet(made.out).load().images[0]
    assert np.abs(aligned.astype(int) - np.array(photo)[60:172, 40:152]).mean() < 2


def test_wrong_lists(folder):
    for text, message in (
        ("000001.jpg\n", "line 1: expected an image and a number"),
        ("000001.jpg x\n", "line 1: expected an image and a number"),
        ("", "Received: no text"),
    ):
        (folder / "identity_CelebA.txt").write_text(text)
        with pytest.raises(ValueError, match=message):
            CelebASource(folder)
    (folder / "identity_CelebA.txt").write_text("a.jpg 1\n../b.jpg 1\n")
    (refused,) = (item for item in CelebASource(folder).items() if isinstance(item, Refused))
    assert "climbs" in refused.reason
    for arguments, message in (
        ({"part": "training"}, "did you mean 'train'"),
        ({"part": "train"}, "list_eval_partition.txt"),
        ({"root": "nowhere"}, "does not exist"),
    ):
        with pytest.raises(ValueError, match=message):
            CelebASource(folder, **arguments)
    write(folder / "list_landmarks_align_celeba.txt", "1\nx y\na.jpg 1 2 3\n")
    with pytest.raises(ValueError, match="line 3: expected an image and ten numbers"):
        list(CelebASource(folder).items())
