"""Synthetic faces: repeatable, aligned, diverse, hard to tell apart but learnable."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gfkeras.data.synthetic import (
    render_face,
    rendering,
    synthetic_faces,
    write_synthetic_folder,
)
from gfkeras.data.synthetic.geometry import TEMPLATE, alignment, landmarks, picture_to_face
from gfkeras.data.synthetic.identity import draw_identity, draw_variation


@pytest.fixture(scope="module")
def population() -> tuple[np.ndarray, np.ndarray]:
    return synthetic_faces(num_identities=40, images_per_identity=5, seed=3)


def area_under_curve(scores: np.ndarray, same: np.ndarray) -> float:
    """Returns the probability that a genuine pair scores above an impostor pair, by ranks."""
    ranks = scores.argsort().argsort() + 1.0
    genuine = int(same.sum())
    above = ranks[same].sum() - genuine * (genuine + 1) / 2
    return above / (genuine * (len(same) - genuine))


def pair_scores(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    first, second = np.triu_indices(len(labels), 1)
    return (features @ features.T)[first, second], labels[first] == labels[second]


def test_faces_are_rgb_bytes_of_the_size_asked_for(population):
    images, labels = population
    assert images.shape == (200, 112, 112, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    assert labels.tolist() == np.repeat(np.arange(40), 5).tolist()
    assert render_face(0, 0, size=64).shape == (64, 64, 3)
    assert render_face(0, 0, size=161).shape == (161, 161, 3)


def test_no_face_is_blank_and_exposure_stays_in_range(population):
    images, _ = population
    assert images.min() < 10
    assert images.max() > 245
    assert images.std(axis=(1, 2, 3)).min() > 8
    means = images.mean(axis=(1, 2, 3))
    assert means.min() > 12
    assert means.max() < 240
    # On average, red is strongest in skin of every colour under white light.
    skin = images[:, 60:84, 44:68].mean(axis=(0, 1, 2))
    assert skin[0] > skin[1] > skin[2]


def test_same_numbers_give_the_same_image():
    assert np.array_equal(render_face(5, 2, seed=9), render_face(5, 2, seed=9))


def test_an_image_does_not_depend_on_earlier_images():
    images, _ = synthetic_faces(2, 2, seed=4, first_identity=11)
    assert np.array_equal(images[3], render_face(12, 1, seed=4))
    assert np.array_equal(images[0], render_face(11, 0, seed=4))


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    render_face(0, 0)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("other", [(6, 2, 9), (5, 3, 9), (5, 2, 10)])
def test_another_identity_variation_or_seed_is_another_image(other):
    picture = render_face(5, 2, seed=9).astype(int)
    assert np.abs(picture - render_face(*other)).mean() > 4


def test_variation_zero_does_not_repeat_the_numbers_of_the_identity(monkeypatch):
    # SeedSequence pads with zeros, so [seed, identity] and [seed, identity, 0] are one stream.
    firsts = []

    def spy(person, rng, strength):
        firsts.append(rng.random())
        return draw_variation(person, rng, strength)

    monkeypatch.setattr(rendering, "draw_variation", spy)
    render_face(7, 0, seed=2)
    render_face(7, 1, seed=2)
    person = np.random.default_rng(np.random.SeedSequence([2, 7])).random()
    assert len({person, *firsts}) == 3


def test_eyes_and_mouth_are_on_the_template(population):
    images, _ = population
    grey = images.mean(axis=(0, 3))
    # The mean face is darker at the eyes than on the cheeks and between the eyes.
    for x in (38, 74):
        eye = grey[49:54, x - 4 : x + 5].mean()
        assert eye < grey[60:66, x - 4 : x + 5].mean() - 8
        assert eye < grey[49:54, 54:59].mean() - 8
    # The line of the mouth is redder than the skin above the lips.
    redness = images[..., 0].mean(0) - images[..., 1].mean(0)
    assert redness[90:97, 50:63].mean() > redness[80:84, 50:63].mean() + 3


def test_five_points_are_near_the_template_in_any_pose():
    rng = np.random.default_rng(0)
    errors = []
    for number in range(80):
        person = draw_identity(number)
        look = draw_variation(person, rng)
        x, y = picture_to_face(person, look, 113)
        for point, place in zip(TEMPLATE, landmarks(person, look), strict=True):
            found = np.unravel_index(np.hypot(x - place[0], y - place[1]).argmin(), x.shape)
            errors.append(np.hypot(found[1] - point[0], found[0] - point[1]))
    assert np.mean(errors) < 4.0
    assert np.max(errors) < 15.0


def test_alignment_recovers_a_similarity():
    factor, offset = 1.3 * np.exp(0.4j), 5 - 3j
    moved = factor * (TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]) + offset
    found = alignment(TEMPLATE, np.stack([moved.real, moved.imag], 1))
    assert np.allclose(found, (factor, offset), atol=1e-3)


def test_people_differ_in_many_continuous_parameters():
    def vector(person: int) -> np.ndarray:
        drawn = draw_identity(person)
        names = ("eye_spacing", "nose_width", "mouth_width", "cheek_width", "brow_arch", "nose_y")
        return np.array([getattr(drawn, name) for name in names])

    people = np.stack([vector(person) for person in range(2000)])
    assert len(np.unique(people.round(6), axis=0)) == 2000
    assert all(len(np.unique(column)) == 2000 for column in people.T)


def test_raw_pixels_tell_people_apart_poorly(population):
    images, labels = population
    features = images.reshape(len(images), -1).astype(np.float32)
    curve = area_under_curve(*pair_scores(features, labels))
    assert 0.55 < curve < 0.78


def test_identity_can_be_learnt_by_a_linear_map():
    """Fisher's discriminants of other people separate new people far better than pixels do."""
    known, shots = 80, 4
    images, labels = synthetic_faces(known + 25, shots, seed=8)
    small = [cv2.resize(image, (12, 12), interpolation=cv2.INTER_AREA) for image in images]
    features = np.stack(small).reshape(len(small), -1).astype(np.float32)
    train, held_out = features[: known * shots], features[known * shots :]
    mean = train.mean(0)
    principal = np.linalg.eigh(np.cov((train - mean).T))[1][:, -100:]
    people = ((train - mean) @ principal).reshape(known, shots, -1)
    centres = people.mean(1)
    within = np.cov((people - centres[:, None]).reshape(known * shots, -1).T)
    within += 0.05 * np.trace(within) / len(within) * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    white = vectors / np.sqrt(values)
    between = np.linalg.svd(centres @ white, full_matrices=False)[2][:50].T
    embedded = (held_out - mean) @ principal @ white @ between
    assert area_under_curve(*pair_scores(embedded, labels[known * shots :])) > 0.92


def test_folder_has_one_subfolder_per_person_and_lossless_images(tmp_path):
    root = write_synthetic_folder(tmp_path / "faces", 2, 3, seed=6, first_identity=4)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))
    assert names == [f"id_0000{i}/000{j}.png" for i in (4, 5) for j in range(3)]
    stored = cv2.imread(str(root / "id_00005" / "0002.png"))[..., ::-1]
    assert np.array_equal(stored, render_face(5, 2, seed=6))


def test_interrupted_folder_is_finished_and_existing_files_are_kept(tmp_path):
    root = write_synthetic_folder(tmp_path, 1, 2)
    kept, lost = root / "id_00000" / "0000.png", root / "id_00000" / "0001.png"
    before = kept.stat().st_mtime_ns
    content = lost.read_bytes()
    lost.unlink()
    write_synthetic_folder(str(tmp_path), 1, 2)
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("identity", -1),
        ("identity", 1.5),
        ("variation", -3),
        ("variation", "2"),
        ("seed", -1),
        ("seed", None),
        ("size", 8),
        ("size", True),
    ],
)
def test_wrong_argument_of_render_face_is_named(name, value):
    arguments = {"identity": 0, "variation": 0, name: value}
    with pytest.raises(ValueError, match=rf"`{name}` must be an integer >= .* Received: {name}="):
        render_face(**arguments)


@pytest.mark.parametrize("name", ["num_identities", "images_per_identity"])
@pytest.mark.parametrize("value", [0, 2.0])
def test_wrong_counts_are_named_and_nothing_is_written(name, value, tmp_path):
    counts = {"num_identities": 1, "images_per_identity": 1, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
        synthetic_faces(**counts)
    with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
        write_synthetic_folder(tmp_path / "faces", **counts)
    assert not (tmp_path / "faces").exists()
    with pytest.raises(ValueError, match="`first_identity` must be an integer"):
        synthetic_faces(1, 1, first_identity=-1)


def test_strength_scales_the_differences_between_images():
    def spread(strength):
        faces = np.stack([render_face(3, v, seed=1, strength=strength) for v in range(8)])
        return faces[:, 40:95, 35:78].astype(float).std(axis=0).mean()

    spreads = [spread(strength) for strength in (0.0, 0.5, 1.0)]
    assert spreads[0] < 0.75 * spreads[1] < 0.75 * spreads[2]
    assert np.array_equal(render_face(3, 1, strength=1.0), render_face(3, 1))
    images, _ = synthetic_faces(1, 2, seed=1, first_identity=3, strength=0.5)
    assert np.array_equal(images[1], render_face(3, 1, seed=1, strength=0.5))


@pytest.mark.parametrize("strength", [-0.1, 1.5, "strong", True])
def test_wrong_strength_is_named(strength):
    with pytest.raises(ValueError, match=r"`strength` must be a number within \[0, 1\]"):
        render_face(0, 0, strength=strength)
