"""Items of a source, embedded by name: aligned by landmarks, by a detector, or already aligned."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from PIL import Image
from small_networks import SMALL_BOTTLENECKS

from gfkeras.backbones import MobileFaceNet
from gfkeras.data.alignment import FaceAligner, FaceDetector, align_face
from gfkeras.data.alignment.align import face_template
from gfkeras.data.sources import FolderSource, Item, Refused
from gfkeras.data.synthetic import synthetic_faces
from gfkeras.errors import ImageError
from gfkeras.inference import Embedder, SourceFaces


class Listed:
    """A source with images in memory. Other items cannot be read."""

    format, path = "listed", Path("listed")

    def __init__(self, items, contents):
        self.listed, self.contents = items, contents

    def items(self):
        yield from self.listed

    def read(self, locator):
        if locator not in self.contents:
            raise ImageError(locator, "the shard ends before", "truncated")
        return self.contents[locator]

    def pairs(self):
        return None

    def describe(self):
        return {}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    keras.utils.set_random_seed(0)
    return Embedder(
        MobileFaceNet(embedding_dim=16, width=0.0625, bottlenecks=SMALL_BOTTLENECKS), batch_size=4
    )


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_landmarks_that_are_known(embedder):
    images, _ = synthetic_faces(num_identities=1, images_per_identity=2, seed=0)
    turn = cv2.getRotationMatrix2D((56, 56), 25, 1.4)
    turn[:, 2] += 60
    photo = cv2.warpAffine(images[0], turn, (240, 230))
    points = face_template(112) @ turn[:, :2].T + turn[:, 2]
    items = [
        Item("turned", None, "turned", tuple(map(tuple, points.tolist()))),
        Refused("folder", "is a folder"),
        Item("aligned", None, "aligned"),
        Item("lost", None, "lost", tuple(map(tuple, points.tolist()))),
        Item("flat", None, "turned", ((5.0, 5.0),) * 5),
    ]
    source = Listed(items, {"turned": png(photo), "aligned": png(images[1])})
    steps = []
    faces = SourceFaces(embedder, source, progress=lambda *step: steps.append(step))
    names = ["aligned", "folder", "lost", "turned", "flat", "who", "turned"]
    found = faces(names)
    expected = embedder(np.stack([images[1], align_face(photo, points), align_face(photo, points)]))
    assert found.index.tolist() == [0, 3, 6]
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-5)
    np.testing.assert_allclose(found.norm, expected.norm, rtol=1e-4)
    reasons = dict(found.skipped)
    assert list(reasons) == ["folder", "lost", "flat", "who"]
    assert reasons["folder"] == "is a folder"
    assert reasons["lost"] == "the shard ends before"
    assert reasons["who"] == "not in the data set"
    assert reasons["flat"]
    assert steps[-1] == (7, 7)


def test_photos_are_aligned_where_an_aligner_is_given(embedder, shared_data):
    aligner = FaceAligner(
        FaceDetector(shared_data / "models" / "face_detection_yunet_2023mar.onnx"), choose="central"
    )
    source = FolderSource(shared_data / "lfw_raw250")
    faces = SourceFaces(embedder, source, aligner)
    names = list(faces.items)[:3]
    expected = embedder(np.stack([aligner(source.root / name) for name in names]))
    np.testing.assert_allclose(faces(names).embedding, expected.embedding, atol=1e-5)


def test_an_aligner_of_another_size(embedder):
    with pytest.raises(ValueError, match="`aligner` must give faces of the model's image size"):
        SourceFaces(embedder, Listed([], {}), FaceAligner(size=96))


def test_many_names_are_loaded_one_batch_at_a_time(embedder):
    """With twenty thousand names, only a few batches of bytes are in memory."""
    content = png(np.zeros((112, 112, 3), np.uint8))
    alive, most = set(), 0

    class Counted(Listed):
        def read(self, locator):
            nonlocal most
            most = max(most, len(alive))
            alive.add(locator)
            if int(locator) % 500:
                raise ImageError(locator, "damaged")
            return content

    items = (Item(str(n), None, str(n)) for n in range(20_000))
    source = Counted(items, {})
    done = SourceFaces(embedder, source, progress=lambda at, total: alive.clear())
    found = done([str(n) for n in range(20_000)])
    assert found.index.tolist() == list(range(0, 20_000, 500))
    assert len(found.skipped) == 20_000 - 40
    assert most < 200
