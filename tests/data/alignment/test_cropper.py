"""Faces cut out of photos: which pixels, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from gfkeras.data.alignment import CROP_SCALES, Detections, FaceCropper, NoFaceError


class Boxes:
    """A detector that finds the same boxes in every photo."""

    def __init__(self, *boxes: tuple[float, float, float, float]):
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)

    def detect(self, photo):
        count = len(self.boxes)
        scores = np.ones(count, np.float32)
        points = np.zeros((count, 5, 2), np.float32)
        return Detections(self.boxes, points, scores, photo.shape[:2])


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (250, 300, 3), np.uint8)


def test_center_is_the_middle_of_the_photo(photo):
    face = FaceCropper("center", 112 / 250)(photo)
    np.testing.assert_array_equal(face, photo[69:181, 94:206])
    # At half the size, a ramp keeps its values: each pixel is the mean of four.
    ramp = np.broadcast_to(np.arange(250, dtype=np.uint8)[:, None, None], (250, 300, 3))
    half = FaceCropper("center", 224 / 250)(ramp)
    expected = ramp[13:237, 38:262].reshape(112, 2, 112, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - expected).max() <= 0.5
    assert FaceCropper("center", 1)(photo).shape == (112, 112, 3)
    assert FaceCropper("center", size=(112, 96))(photo).shape == (112, 96, 3)
    assert FaceCropper("center").scale == CROP_SCALES["center"]


def test_box_is_enlarged_around_its_middle(photo):
    # The longer side, 56 pixels, doubled.
    cropper = FaceCropper("box", 2, Boxes((100, 80, 40, 56)))
    np.testing.assert_array_equal(cropper(photo), photo[52:164, 64:176])
    # Outside the photo is black.
    corner = FaceCropper("box", 2, Boxes((-20, -28, 40, 56)))(photo)
    np.testing.assert_array_equal(corner[56:, 56:], photo[:56, :56])
    assert not corner[:55].any()
    two = (Boxes((0, 0, 60, 60), (130, 100, 40, 56)),)
    largest, central = (FaceCropper("box", 1, *two, choose=c) for c in ("largest", "central"))
    assert np.abs(largest(photo).astype(int) - central(photo)).mean() > 10
    again = pickle.loads(pickle.dumps(central))
    np.testing.assert_array_equal(again(photo), central(photo))


def test_what_is_refused(photo):
    with pytest.raises(NoFaceError, match="no face found"):
        FaceCropper("box", detector=Boxes())(photo)
    for arguments, message in (
        ({"crop": "middle"}, "`crop` must be one of"),
        ({"scale": 0}, "`scale` must be"),
        ({"scale": float("nan")}, "`scale` must be"),
        ({"scale": 1.01}, "`scale` must be"),
        ({"scale": 1e-9}, "`scale` must be from 0.05"),
        ({"crop": "box", "scale": 11, "detector": Boxes()}, "`scale` must be"),
        ({"choose": "all"}, "`choose` must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            FaceCropper(**arguments)
