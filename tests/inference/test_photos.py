"""Embeddings of photos: files and arrays, with one face, several faces or none."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_networks import SMALL_BOTTLENECKS

from gfkeras.backbones import MobileFaceNet
from gfkeras.data.alignment import FaceAligner, FaceDetector
from gfkeras.data.photos import read_photo
from gfkeras.inference import Embedder


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    keras.utils.set_random_seed(0)
    return Embedder(
        MobileFaceNet(embedding_dim=16, width=0.0625, bottlenecks=SMALL_BOTTLENECKS), batch_size=2
    )


@pytest.fixture(scope="module")
def detector(shared_data) -> FaceDetector:
    return FaceDetector(shared_data / "models" / "face_detection_yunet_2023mar.onnx")


@pytest.fixture(scope="module")
def photos(shared_data) -> list:
    return sorted((shared_data / "lfw_raw250").rglob("*.jpg"))[:5]


def test_files_and_arrays_are_alike(embedder, detector, photos):
    aligner = FaceAligner(detector, choose="central")
    expected = embedder(np.stack([aligner(photo) for photo in photos]))
    steps = []
    for given in (photos, [read_photo(photo) for photo in photos]):
        found = embedder.embed_photos(given, aligner, lambda *step: steps.append(step))
        assert found.photo.tolist() == [0, 1, 2, 3, 4]
        assert not found.skipped
        np.testing.assert_allclose(found.embeddings.embedding, expected.embedding, atol=1e-5)
        np.testing.assert_allclose(found.embeddings.norm, expected.norm, rtol=1e-4)
        for box, landmarks, photo in zip(found.box, found.landmarks, photos, strict=True):
            face = aligner.face(photo)
            np.testing.assert_array_equal(box, face.box)
            np.testing.assert_array_equal(landmarks, face.landmarks)
    assert steps == 2 * [(2, 5), (4, 5), (5, 5)]


def test_several_faces_of_one_photo(embedder, detector, photos):
    party = np.concatenate([read_photo(photo) for photo in photos[:3]], axis=1)
    grey = np.full((120, 160, 3), 128, np.uint8)
    aligner = FaceAligner(detector, choose="all")
    faces = aligner.faces(party)
    assert len(faces) >= 3
    found = embedder.embed_photos([grey, party, photos[4].with_name("no.jpg"), party], aligner)
    assert found.photo.tolist() == [1] * len(faces) + [3] * len(faces)
    assert len(found) == len(found.box) == len(found.landmarks) == 2 * len(faces)
    expected = embedder(np.stack([face.image for face in faces] * 2))
    np.testing.assert_allclose(found.embeddings.embedding, expected.embedding, atol=1e-5)
    assert found.skipped[0] == (0, "no face found")
    assert found.skipped[1][0].name == "no.jpg"
    assert "no such file" in found.skipped[1][1]


def test_no_face_at_all(embedder, detector):
    grey = np.full((120, 160, 3), 128, np.uint8)
    found = embedder.embed_photos([grey] * 3, FaceAligner(detector))
    assert found.embeddings is None
    assert found.box.shape == (0, 4)
    assert found.landmarks.shape == (0, 5, 2)
    assert len(found) == len(found.photo) == 0
    assert found.skipped == [(number, "no face found") for number in range(3)]


def test_wrong_arguments(embedder, detector):
    with pytest.raises(ValueError, match="at least one photo"):
        embedder.embed_photos([])
    with pytest.raises(ValueError, match=r"`aligner` must give faces .* 112×112.*\(112, 96\)"):
        embedder.embed_photos(["a.jpg"], FaceAligner(detector, size=(112, 96)))
    for wrong, said in (
        (None, "photos=None"),
        (5, "photos=5"),
        ({"a.jpg": 1}, "photos={'a.jpg': 1}"),
        ("no.jpg", "photos='no.jpg', which is not a file"),
        ([None], r"photos\[0\]=None"),
        ([np.zeros((120, 160), np.uint8)], r"photos\[0\] of shape \(120, 160\); for a grey"),
        (np.zeros((3, 120, 160), np.uint8), "move the channels last"),
        (np.full((120, 160, 3), 0.5), "multiply by 255"),
    ):
        with pytest.raises(ValueError, match=f"`photos?(\\[0\\])?` must be.*{said}"):
            embedder.embed_photos(wrong, FaceAligner(detector))
