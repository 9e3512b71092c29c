"""Threads, loading ahead, and fingerprints of models."""

import threading
import time

import keras
import numpy as np
import pytest
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.errors import ImageError
from gfkeras.export.quantization.aeq import packed, unpacked
from gfkeras.inference import Embedder, SourceFaces

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the runtimes and exports need TensorFlow"
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return gfkeras.GroupFace(
        gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS),
        embedding_dim=16, num_groups=2, shared_dim=None, group_dim=16, mode="hard",
    )  # fmt: skip


@pytest.fixture(scope="module")
def tflite(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("threads") / "model.tflite"
    return gfkeras.export.export_model(model, path, format="tflite")


@pytest.mark.parametrize("threads", [1, 3])
def test_embeddings_are_those_of_one_thread_in_order(tflite, threads):
    images = np.random.default_rng(0).integers(0, 256, (21, 112, 112, 3), np.uint8)
    expected = Embedder(tflite, num_threads=1, batch_size=21)(images)
    embedder = Embedder(tflite, num_threads=threads, batch_size=4)
    assert embedder.num_threads == threads
    found = embedder(images)
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-5)
    np.testing.assert_array_equal(found.group, expected.group)

    def load(position):
        # The first images take longest, so they are loaded last but must come first.
        time.sleep(0.01 * (position < 4))
        if position % 5 == 0:
            raise ImageError(str(position), "broken")
        return images[position]

    steps = []
    loaded = embedder.embed_loaded(range(21), load, lambda done, total: steps.append((done, total)))
    kept = [i for i in range(21) if i % 5]
    assert loaded.index.tolist() == kept
    assert loaded.skipped == [(i, "broken") for i in (0, 5, 10, 15, 20)]
    np.testing.assert_allclose(loaded.embedding, expected.embedding[kept], atol=1e-5)
    np.testing.assert_allclose(loaded.norm, expected.norm[kept], rtol=1e-3)
    assert steps[-1] == (21, 21)


def test_images_are_not_loaded_far_ahead(tflite):
    embedder = Embedder(tflite, num_threads=2, batch_size=1)
    image, loaded, done = np.zeros((112, 112, 3), np.uint8), [], []
    lock = threading.Lock()

    def load(position):
        with lock:
            loaded.append(position)
            assert len(loaded) - len(done) < 40
        return image

    embedder.embed_loaded(range(200), load, lambda at, total: done.append(at))
    assert len(loaded) == 200


def test_an_error_of_a_reader_ends_the_work(tflite):
    embedder = Embedder(tflite, num_threads=2, batch_size=2)

    def load(position):
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        embedder.embed_loaded(range(10), load)


def test_a_fingerprint_is_that_of_the_weights(model, tflite, tmp_path):
    folder = model.save_to(tmp_path / "model")
    first = Embedder(model).fingerprint
    assert len(first) == 64
    # A saved model and its float artefact have the same fingerprint.
    assert Embedder(folder).fingerprint == first
    assert Embedder(tflite).fingerprint == first
    changed = gfkeras.load(folder)
    changed.mode = "soft"
    assert Embedder(changed).fingerprint != first
    changed = gfkeras.load(folder)
    weight = changed.trainable_weights[0]
    weight.assign(weight + 1e-3)
    assert Embedder(changed).fingerprint != first
    # The card inside the file also has the fingerprint.
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(tflite.read_bytes())
    assert Embedder(bare).fingerprint == first
    # Without any card, the fingerprint is that of the file.
    content = unpacked(tflite.read_bytes())
    content.metadata = []
    bare.write_bytes(packed(content))
    bytes_alone = Embedder(bare, input_range=(0, 255)).fingerprint
    assert len(bytes_alone) == 64
    assert bytes_alone != first
    assert Embedder(bare, input_range=(0, 1)).fingerprint != bytes_alone


def test_a_source_is_embedded_by_name(model, tmp_path):
    from PIL import Image

    from gfkeras.data.sources import FolderSource
    from gfkeras.data.synthetic import synthetic_faces

    images, _ = synthetic_faces(num_identities=2, images_per_identity=2, seed=0)
    for number, image in enumerate(images):
        folder = tmp_path / f"p{number // 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    (tmp_path / "p0" / "broken.png").write_bytes(b"no image")
    embedder = Embedder(model)
    faces = SourceFaces(embedder, FolderSource(tmp_path))
    found = faces(["p1/3.png", "p0/broken.png", "p0/0.png", "p9/9.png"])
    assert found.index.tolist() == [0, 2]
    expected = embedder(np.stack([images[3], images[0]]))
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-5)
    assert [name for name, _ in found.skipped] == ["p0/broken.png", "p9/9.png"]
    assert found.skipped[1][1] == "not in the data set"
