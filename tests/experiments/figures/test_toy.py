"""Toy embeddings: training, angles and the plot."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")

from gfkeras import heads
from gfkeras.data.synthetic import synthetic_faces
from gfkeras.experiments.figures import ToyEmbedding, check_toy, toy_figure, train_toy
from gfkeras.experiments.figures.toy import TOY_HEADS, spread_centers


def toy(dimensions=2):
    """Returns two faces of each of four identities, 10° left and right of their center."""
    centers = spread_centers(4, dimensions)
    beside = np.roll(centers, 1, axis=0) * np.tan(np.radians(10))
    if dimensions == 3:
        beside = np.cross(centers, beside)
        beside *= np.tan(np.radians(10)) / np.linalg.norm(beside, axis=1, keepdims=True)
    rows = np.concatenate([3 * (centers + beside), 5 * (centers - beside)])
    return ToyEmbedding("ArcFace", "m = 0.5", rows, 2 * centers, np.tile(np.arange(4), 2))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_angles_and_margins(dimensions):
    found = toy(dimensions).to_json()
    assert found["accuracy"] == 1
    assert found["own"] == pytest.approx(10, abs=1e-4)
    if dimensions == 2:
        # 80° to the center on one side, 100° on the other.
        assert found["margin"] == pytest.approx(70, abs=1e-4)


@pytest.mark.parametrize(("classes", "dimensions", "degrees"), [(8, 2, 45), (4, 3, 109.47)])
def test_centers_are_spread_evenly(classes, dimensions, degrees):
    centers = spread_centers(classes, dimensions).astype("float64")
    cosine = np.clip(centers @ centers.T, -1, 1)[~np.eye(classes, dtype=bool)]
    assert np.degrees(np.arccos(cosine)).min() == pytest.approx(degrees, abs=0.1)


def test_training_separates_synthetic_people():
    images, labels = synthetic_faces(3, 24, seed=0)
    found = train_toy("CosFace", images, labels, epochs=60, seed=1).to_json()
    assert found["accuracy"] > 0.9
    assert found["margin"] > 45


def test_the_margins_fit_eight_identities_in_the_plane():
    for name, (_, arguments) in TOY_HEADS.items():
        head = heads.get(name, num_classes=8, **arguments)
        head.build((None, 2))
        assert head.bound_warnings() == []


def test_the_figure_has_two_panels_for_each_head():
    figure = toy_figure([toy(), toy()], "Small CNN")
    assert len(figure.axes) == 4
    assert "to own center 10.0°" in "".join(text.get_text() for text in figure.axes[1].texts)
    with pytest.raises(ValueError, match=r"2 or 3 dimensions. Received: \[2, 3\]"):
        toy_figure([toy(2), toy(3)], "")
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        toy_figure([], "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["ArcFce"], 2, 1), "did you mean 'ArcFace'"),
        ((["ArcFace"], 4, 1), "`dimensions` must be 2 or 3"),
        ((["ArcFace"], 2, 0), "`epochs` must"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_toy(*arguments)
