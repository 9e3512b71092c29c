"""The optimisation of images, and its errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from bn_networks import bn_network
from PIL import Image

import gfkeras
from gfkeras.data import FaceFolder
from gfkeras.experiments.inversion import InversionSettings, Targets, invert
from gfkeras.experiments.inversion.inverting import as_pixels
from gfkeras.experiments.inversion.judging import Likeness
from gfkeras.experiments.inversion.targets import (
    of_estimated_classes,
    of_people,
    of_run_classes,
    of_templates,
)
from gfkeras.inference import Embedder


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return bn_network()


@pytest.fixture(scope="module")
def targets(network) -> Targets:
    faces = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    return Targets(list("abcd"), Embedder(network)(faces).embedding)


@pytest.mark.parametrize("close_set", [False, True], ids=["open", "close"])
def test_the_loss_falls_and_the_cosine_rises(network, targets, close_set):
    if close_set:
        centers = np.random.default_rng(1).standard_normal((6, 8))
        targets = Targets.of_classes(targets.names, np.arange(2, 6), centers)
    seen: list[tuple[int, int, dict]] = []
    shown: list[tuple[int, list[int]]] = []
    pictures = invert(
        network,
        targets,
        InversionSettings(steps=60, coarse=(1,), shift=0.0, mirror=False),
        every=25,
        progress=lambda done, total, terms: seen.append((done, total, terms)),
        on_pictures=lambda step, places, images: shown.append((step, places.tolist())),
    )
    assert [done for done, *_ in seen] == list(range(10, 61, 10))
    assert {total for _, total, _ in seen} == {60}
    assert [step for step, _ in shown] == [0, 25, 50, 60]
    assert shown[0][1] == [0, 1, 2, 3]
    first, last = seen[0][2], seen[-1][2]
    assert last["loss"] < first["loss"]
    found = (Embedder(network)(pictures).embedding * targets.embedding).sum(axis=1)
    assert found.mean() > max(0.6, first["cosine"])
    # The reported cosine equals that of the images, except for rounding to 8 bits.
    assert found.mean() == pytest.approx(last["cosine"], abs=0.02)


def test_a_seed_gives_the_same_images_with_any_callbacks(network, targets):
    settings = InversionSettings(steps=6, coarse=(1,), shift=1.0, mirror=True)
    first = invert(network, targets, settings, seed=3)
    again = invert(network, targets, settings, seed=3, every=2, on_pictures=lambda *_: None)
    other = invert(network, targets, settings, seed=4)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 5
    # The images of a batch start from different noise.
    assert np.abs(first[0].astype(int) - first[1]).mean() > 5


def test_batches_are_even_parts(network, targets):
    settings, parts = InversionSettings(steps=1, coarse=(1,)), []
    pictures = invert(
        network,
        targets,
        settings,
        batch_size=3,
        on_pictures=lambda step, places, images: parts.append((step, places.tolist())),
    )
    assert parts == [(0, [0, 1]), (1, [0, 1]), (0, [2, 3]), (1, [2, 3])]
    assert pictures.shape == (4, 16, 16, 3)
    assert pictures.dtype == np.uint8


def test_steps_are_shared_out_over_resolutions_and_finer_ones_go_slower():
    spans = InversionSettings(steps=10, learning_rate=0.5).spans()
    assert spans == [(4, 3, 0.5), (2, 3, 0.125), (1, 4, 0.03125)]
    assert InversionSettings(steps=1).spans()[0][:2] == (1, 1)
    same = InversionSettings(steps=4, coarse=(2, 1), finer_rate=1.0)
    assert [rate for *_, rate in same.spans()] == [0.25, 0.25]
    with pytest.raises(ValueError, match="`finer_rate`"):
        InversionSettings(finer_rate=0.0)


def test_pixels_of_small_images_are_enlarged():
    pixels = as_pixels(np.array([-1.0, 1.0, 3.0]) * np.ones((1, 4, 4, 3)), 8)
    assert pixels.shape == (1, 8, 8, 3)
    np.testing.assert_array_equal(np.unique(pixels.reshape(-1, 3), axis=0), [[0, 255, 255]])


def test_stored_embeddings_become_targets(tmp_path):
    file, rows = tmp_path / "stored.npz", np.array([[3.0, 4], [0, 2]])
    np.savez(file, embedding=rows, path=np.array(["photos/ann.jpg", "bob.png"]))
    subjects = of_templates(file)
    assert subjects.targets.names == ["ann", "bob"]
    np.testing.assert_allclose(subjects.targets.embedding, [[0.6, 0.8], [0, 1]], rtol=1e-6)
    assert subjects.faces is None
    np.savez(file, embedding=rows)
    assert of_templates(file).targets.names == ["stored-0", "stored-1"]


def test_estimated_centers_are_means_and_a_run_has_those_of_its_head(network, tmp_path):
    rng = np.random.default_rng(6)
    for place, name in enumerate(["ann", "bob", "cy"]):
        (tmp_path / name).mkdir()
        for index in range(1 + place):
            pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    (tmp_path / "bob" / "0.png").write_bytes(b"no picture")
    folder, embedder = FaceFolder(tmp_path), Embedder(network)
    estimated = of_estimated_classes(embedder, folder, ["cy", "ann"])
    np.testing.assert_array_equal(estimated.targets.labels, [2, 0])
    for row, faces in zip([0, 1], estimated.faces, strict=True):
        mean = embedder(faces).embedding.mean(axis=0)
        np.testing.assert_allclose(
            estimated.targets.embedding[row], mean / np.linalg.norm(mean), atol=1e-5
        )
    np.testing.assert_array_equal(of_people(embedder, folder, ["cy"]).faces[0], estimated.faces[0])
    centers, people = rng.standard_normal((3, 8)), ["x", "cy", "ann"]
    trained = of_run_classes(centers, people, ["ann", "cy"], embedder)
    np.testing.assert_array_equal(trained.targets.labels, [2, 1])
    assert trained.faces is None
    with pytest.raises(ValueError, match=r"Unknown class 'bo'; did you mean 'bob'\?"):
        of_estimated_classes(embedder, folder, ["bo"])
    with pytest.raises(ValueError, match=r"`run` must have one center a class.*\(1, 3, 8\)"):
        of_run_classes(np.ones((1, 3, 8)), ["cy"], ["cy"], embedder)


def test_likeness_counts_the_other_targets():
    likeness = Likeness.between(np.eye(3)[[0, 1, 1]], np.eye(3)[:2], np.array([0, 1, 0]))
    np.testing.assert_array_equal(likeness.cosine, [1, 1, 0])
    np.testing.assert_array_equal(likeness.others, [0, 0, 1])
    assert likeness.summary()["mean_cosine"] == pytest.approx(2 / 3)
    alone = Likeness.between(np.eye(2)[:1], np.eye(2)[:1], np.array([0]))
    assert np.isnan(alone.others).all()


def test_arguments_that_do_not_fit_are_named(network, targets):
    wrong = Targets(["a"], np.ones((1, 5)))
    with pytest.raises(ValueError, match=r"`targets` must have the 8 numbers.*Received: 5"):
        invert(network, wrong)
    with pytest.raises(ValueError, match="`coarse` must divide the image's 16 pixels"):
        invert(network, targets, InversionSettings(coarse=(3, 1)))
    with pytest.raises(ValueError, match=r"`coarse` must be divisors.*Received: coarse=\(2,\)"):
        InversionSettings(coarse=(2,))
    with pytest.raises(ValueError, match="`steps`"):
        InversionSettings(steps=0)
    with pytest.raises(ValueError, match="`batch_size`"):
        invert(network, targets, batch_size=0)
    with pytest.raises(ValueError, match=r"`embedding` must be finite and not zero.*row 1"):
        Targets(["a", "b"], np.array([[1.0, 0], [0, 0]]))
    with pytest.raises(ValueError, match="`labels` must be 1 rows of the 3 centers"):
        Targets(["a"], np.eye(3)[:1], np.eye(3), np.array([3]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "arguments"),
    [("IResNet18", {}), ("MobileFaceNet", {"variant": "insightface"}), ("MobileFaceNet", {})],
    ids=["iresnet", "insightface", "paper"],
)
def test_every_backbone_can_be_attacked(backbone, arguments):
    network = gfkeras.backbones.get(backbone, embedding_dim=8, input_shape=(32, 32, 3), **arguments)
    faces = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    embedder, terms = Embedder(network), []
    targets = Targets(["a", "b"], embedder(faces).embedding)
    pictures = invert(
        network,
        targets,
        InversionSettings(steps=20, coarse=(1,), shift=0.0, mirror=False),
        progress=lambda *found: terms.append(found[-1]),
    )
    assert pictures.shape == faces.shape
    assert terms[-1]["loss"] < terms[0]["loss"]
