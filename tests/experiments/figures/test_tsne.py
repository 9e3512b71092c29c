"""t-SNE: the chosen people, the measurements, and the colours and markers of people."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")

from PIL import Image

from gfkeras.data import FaceFolder
from gfkeras.experiments.figures import (
    choose_people,
    draw_images,
    network_outputs,
    project,
    tsne_figure,
)


def people(count=4, each=6, noise=0.05, seed=0):
    """Unit vectors about a direction for each person."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), each)
    rows = np.eye(8)[labels] + noise * rng.normal(size=(count * each, 8))
    return rows, labels


def test_silhouette_and_neighbours_are_of_the_cosines():
    rows, labels = people(noise=0.5)
    scaled = rows * np.random.default_rng(1).uniform(0.1, 9, (len(rows), 1))
    found = project(scaled, labels)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    silhouettes = []
    for i, row in enumerate(distance):
        mine = row[(labels == labels[i]) & (np.arange(len(row)) != i)].mean()
        other = min(row[labels == label].mean() for label in range(4) if label != labels[i])
        silhouettes.append((other - mine) / max(other, mine))
    assert found.silhouette == pytest.approx(np.mean(silhouettes))
    np.fill_diagonal(distance, 9)
    same = labels[distance.argmin(axis=1)] == labels
    assert 0 < same.mean() < 1
    assert found.nearest == pytest.approx(same.mean())


def test_people_far_apart_are_apart_in_the_plane():
    rows, labels = people()
    first = project(rows, labels, seed=3)
    np.testing.assert_array_equal(first.points, project(5 * rows, labels, seed=3).points)
    gaps = np.linalg.norm(first.points[:, None] - first.points[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    assert (labels[gaps.argmin(axis=1)] == labels).all()
    assert first.nearest == 1


def test_too_few():
    rows, labels = people(count=2, each=2)
    assert project(rows, labels).points.shape == (4, 2)
    for wrong in (np.zeros(4), np.arange(4)):
        with pytest.raises(ValueError, match="at least four images and two people"):
            project(rows, wrong)
    with pytest.raises(ValueError, match=r"`perplexity` must be positive and below the 4"):
        project(rows, labels, perplexity=4)
    with pytest.raises(ValueError, match=r"shapes \(4, 8\) and \(3,\)"):
        project(rows, labels[:3])


def test_ten_people_have_ten_markers():
    rows, labels = people(count=8, each=3)
    shown = project(rows, labels)
    names = [f"p{i}" for i in range(8)]
    figure = tsne_figure({"Baseline": shown, "v̄": shown}, labels, names)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    for axes in figure.axes:
        drawn = axes.collections
        forms = {tuple(map(tuple, c.get_paths()[0].vertices.round(3))) for c in drawn}
        assert len(forms) == len(drawn) == 8
        np.testing.assert_allclose(drawn[2].get_offsets(), shown.points[labels == 2])
    with pytest.raises(ValueError, match="`panels` must each have a point"):
        tsne_figure({"v": shown}, labels[:5], names)


@pytest.fixture
def folder(tmp_path):
    """A folder with 1 image of anna, 2 of ben, 4 of carl, 4 of dora and 3 of eva."""
    for name, count in (("anna", 1), ("ben", 2), ("carl", 4), ("dora", 4), ("eva", 3)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.new("RGB", (112, 112), (10 * i, 0, 0)).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_people_with_most_images_come_first(folder):
    chosen = choose_people(FaceFolder(folder), people=3, images=3)
    assert chosen.names == ["carl", "dora", "eva"]
    assert chosen.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert [path.parent.name for path in chosen.paths] == ["carl"] * 3 + ["dora"] * 3 + ["eva"] * 3
    again = choose_people(FaceFolder(folder), people=3, images=3)
    assert again.paths == chosen.paths
    named = choose_people(FaceFolder(folder, ["eva", "ben"]))
    assert (named.names, named.labels.tolist()) == (["eva", "ben"], [0, 0, 0, 1, 1])
    assert len(draw_images(FaceFolder(folder), 5).paths) == 5
    assert len(draw_images(FaceFolder(folder), None).paths) == 14


def test_fewer_people_than_needed(folder):
    with pytest.raises(ValueError, match=r"`people` must be from 2 to 4,.*Received: people=5"):
        choose_people(FaceFolder(folder), people=5)
    with pytest.raises(ValueError, match="Received: people=1"):
        choose_people(FaceFolder(folder, ["carl"]))
    with pytest.raises(ValueError, match=r"`identities` must be people with at .*'anna' with one"):
        choose_people(FaceFolder(folder, ["carl", "anna"]))


class RedEmbedder:
    """Returns the red of the first pixel as every output."""

    image_size = 112

    def outputs(self, images):
        red = images[:, 0, 0, :1].astype(np.float32)
        return {"embedding": red, "group_logits": 2 * red}


def test_outputs_of_the_files_that_can_be_read(folder):
    paths = [folder / "carl" / f"{i}.png" for i in range(4)]
    paths[1].write_bytes(b"no picture")
    seen = []
    found = network_outputs(
        RedEmbedder(), paths, ["embedding"], ["group_logits", "instance"],
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert set(found.values) == {"embedding", "group_logits"}
    assert found.values["embedding"].ravel().tolist() == [0, 20, 30]
    assert found.index.tolist() == [0, 2, 3]
    assert [path for path, _ in found.skipped] == [paths[1]]
    assert seen == [(4, 4)]
    with pytest.raises(ValueError, match=r"`model` must be a GroupFace.*'instance'.*Received"):
        network_outputs(RedEmbedder(), paths, ["instance"])
    with pytest.raises(ValueError, match="None of the 1 images can be used"):
        network_outputs(RedEmbedder(), paths[1:2], ["embedding"])
