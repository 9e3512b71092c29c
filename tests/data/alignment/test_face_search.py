"""Faces that are small, that fill the photo, or that are turned."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from gfkeras.data.alignment import FaceAligner
from gfkeras.data.alignment.face_search import search_faces
from gfkeras.data.photos import read_photo


@pytest.fixture(scope="module")
def aligner(detector) -> FaceAligner:
    return FaceAligner(detector)


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the correlation of two aligned faces, blurred."""
    a, b = (cv2.resize(face, (28, 28), interpolation=cv2.INTER_AREA) for face in (first, second))
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def placed(image: np.ndarray, width: float, size: tuple[int, int]) -> np.ndarray:
    """Scales a photo of LFW, whose face is about 110 pixels wide, and puts it in a large photo."""
    scale = width / 110
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    large = np.full((size[1], size[0], 3), 120, np.uint8)
    y, x = size[1] // 3, size[0] // 3
    large[y : y + small.shape[0], x : x + small.shape[1]] = small
    return large


def test_turned_photos(aligner, photos):
    for path in photos[:40:10]:
        image = read_photo(path)
        upright = aligner.face(image)
        assert upright.rotated == 0
        for turns in (1, 2, 3):
            turned = np.ascontiguousarray(np.rot90(image, turns))
            face = aligner.face(turned)
            assert face.rotated == 90 * turns
            assert likeness(face.image, upright.image) > 0.98
            # Box and landmarks refer to the photo as it was given.
            x, y, width, height = face.box
            assert x < face.landmarks[2, 0] < x + width
            assert y < face.landmarks[2, 1] < y + height
            again = np.ascontiguousarray(np.rot90(turned, -turns))
            np.testing.assert_array_equal(again, image)


@pytest.mark.parametrize("angle", [-35, 20, 30])
def test_tilted_faces(aligner, photos, angle):
    """YuNet alone finds the eyes of these faces 12 to 30 degrees off, which is another person."""
    worst = []
    for path in photos[:80:10]:
        image = read_photo(path)
        matrix = cv2.getRotationMatrix2D((124.5, 124.5), -angle, 1)
        tilted = cv2.warpAffine(image, matrix, (250, 250), borderMode=cv2.BORDER_REPLICATE)
        upright, face = aligner.face(image), aligner.face(tilted)
        assert face.rotated == 0
        expected = upright.landmarks @ matrix[:, :2].T + matrix[:, 2]
        error = np.linalg.norm(face.landmarks - expected, axis=1).mean()
        worst.append(error / upright.eye_distance)
    assert np.median(worst) < 0.12


def test_a_turned_photo_with_exif_stands_upright(aligner, photos):
    image = Image.open(photos[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", quality=95, exif=exif)
    face = aligner.face(buffer.getvalue())
    assert face.rotated == 0
    assert likeness(face.image, aligner.face(photos[0]).image) > 0.98


@pytest.mark.parametrize(
    ("width", "size", "small"),
    [(30, (1500, 1000), True), (30, (4000, 600), True), (100, (6000, 4000), False)],
)
def test_small_faces_in_large_photos(aligner, photos, width, size, small):
    image = read_photo(photos[0])
    face = aligner.face(placed(image, width, size))
    assert abs(face.eye_distance - aligner.face(image).eye_distance * width / 110) < 0.1 * width
    assert face.too_small is small
    assert likeness(face.image, aligner.face(image).image) > 0.9


@pytest.mark.parametrize("margin", [0.0, -0.1])
@pytest.mark.parametrize("side", [None, 2000])
def test_a_close_crop_without_margin(aligner, photos, margin, side):
    for path in photos[:30:10]:
        image = read_photo(path)
        expected = aligner.face(image)
        x, y, width, height = expected.box
        left, top = max(0, int(x - margin * width)), max(0, int(y - margin * height))
        right, bottom = int(x + width + margin * width), int(y + height + margin * height)
        crop = np.ascontiguousarray(image[top:bottom, left:right])
        scale = 1 if side is None else side / crop.shape[0]
        if side is not None:
            crop = cv2.resize(crop, None, fx=scale, fy=scale)
        found = aligner.face(crop)
        assert found.rotated == 0
        error = np.abs(found.landmarks / scale + [left, top] - expected.landmarks)
        assert error.mean() < 0.1 * width


def test_a_small_photo_is_searched_at_twice_its_size(aligner, photos):
    """A cutout of 100 pixels has poor landmarks at its own size."""
    small = np.ascontiguousarray(read_photo(photos[0])[75:175, 75:175])
    large = cv2.resize(small, (200, 200), interpolation=cv2.INTER_LINEAR)
    found, expected = aligner.face(small), aligner.face(large)
    np.testing.assert_allclose(2 * found.landmarks + 0.5, expected.landmarks, atol=1e-3)


def test_known_landmarks_of_a_profile_are_not_a_small_face(aligner, photos):
    face = aligner.face(photos[0])
    assert face.eye_distance == pytest.approx(
        np.linalg.norm(face.landmarks[1] - face.landmarks[0]), rel=0.25
    )
    assert not face.too_small


def test_a_thorough_search_finds_small_faces_beside_a_large_one(detector, photos):
    image = read_photo(photos[0])
    both = placed(image, 24, (2000, 1500))
    both[:1000, 1000:2000] = cv2.resize(image, (1000, 1000))
    assert len(detector.detect(both)) == 1
    found = detector.detect(both, thorough=True)
    assert len(found) == 2
    assert len(FaceAligner(detector, choose="all").faces(both)) == 2


def test_parts_cover_a_large_photo_and_memory_is_bounded():
    """A finder that sees a single bright pixel shows where the search looked."""
    shapes = []

    def find(image):
        shapes.append(image.shape)
        y, x = np.nonzero(image[..., 0] > 200)
        rows = np.zeros((len(x), 15), np.float32)
        rows[:, 0], rows[:, 1], rows[:, 2:4], rows[:, 14] = x - 10, y - 10, 20, 0.9
        rows[:, 4:14] = np.tile(np.stack([x, y], axis=1), 5)
        return rows

    for place in ((5, 7), (1499, 1999), (1279, 1280)):
        photo = np.zeros((1500, 2000, 3), np.uint8)
        photo[place] = 255
        rows, rotated = search_faces(photo, find, 640)
        assert rotated == 0
        assert len(rows) == 1
        np.testing.assert_allclose(rows[0, 4:6], place[::-1], atol=1)
    assert max(height * width for height, width, _ in shapes) <= 1280 * 1280
