"""Toy embeddings: eight identities in two or three dimensions, trained with each head."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gfkeras import heads
from gfkeras.backend import networks_in_turn
from gfkeras.errors import by_name, positive_int
from gfkeras.evaluation.plots.style import COLORS, GRID, INK, MUTED, new_figure, set_title
from gfkeras.models import FaceClassifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Head, its setting in the title, and its arguments. The margins are within
# `cosface_margin_upper_bound(8, 2)`.
TOY_HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "Softmax": ("no margin", {"use_bias": False}),
    "NormSoftmax": ("s = 30", {"scale": 30.0}),
    "SphereFace": ("m = 4", {"lambda_decay": 1.0}),
    "CosFace": ("s = 30, m = 0.2", {"scale": 30.0, "margin": 0.2}),
    "ArcFace": ("s = 30, m = 0.5", {"scale": 30.0}),
}
# A step has all of so few identities, so there is nothing to sample.
_OTHER_HEADS: dict[str, tuple[str, dict[str, Any]]] = {"PartialFC": ("r = 1", {"sample_rate": 1.0})}
BATCH, RATE, POOLED = 64, 2e-3, 4
_COLORS = (*COLORS, INK, "#8c6d31")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")


@dataclass(frozen=True, eq=False)
class ToyEmbedding:
    """The embeddings (N, K) of a small network that was trained with one head.

    `head` and `setting`, its arguments, are for the title. `centers` are the head's, (C, K)
    float32.
    """

    head: str
    setting: str
    embedding: np.ndarray
    centers: np.ndarray
    labels: np.ndarray

    @property
    def angles(self) -> np.ndarray:
        """The angle between each face and each center, (N, C) float64, in degrees."""
        cosine = _unit(self.embedding) @ _unit(self.centers).T
        return np.degrees(np.arccos(np.clip(cosine, -1, 1)))

    def to_json(self) -> dict[str, Any]:
        """Returns the points, and means over the faces for `json.dump`.

        "own" is the angle to the own center, "margin" is how much larger the angle to the nearest
        other center is, both in degrees, and "accuracy" is the share of faces whose nearest center
        is their own.
        """
        angles, rows = self.angles, np.arange(len(self.labels))
        own = angles[rows, self.labels]
        angles[rows, self.labels] = np.inf
        margin = angles.min(axis=1) - own
        return {
            "head": self.head,
            "setting": self.setting,
            "accuracy": float(np.mean(margin > 0)),
            "own": float(own.mean()),
            "margin": float(margin.mean()),
            "points": self.embedding.tolist(),
            "centers": self.centers.tolist(),
        }


def check_toy(names: Sequence[str], dimensions: int, epochs: int) -> None:
    """Raises ValueError for an unknown head, or for arguments that `train_toy` cannot use."""
    for name in names:
        by_name("head", name, heads.HEADS)
    if dimensions not in (2, 3):
        raise ValueError(f"`dimensions` must be 2 or 3. Received: dimensions={dimensions!r}")
    positive_int("epochs", epochs)


def spread_centers(classes: int, dimensions: int) -> np.ndarray:
    """Returns unit vectors that lie far apart, (C, K) float32: a regular polygon for K = 2."""
    if dimensions == 2:
        turn = 2 * np.pi * np.arange(classes) / classes
        return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    rows = _unit(np.random.default_rng(0).normal(size=(classes, dimensions)))
    # Points that push each other away by the square of their distance, like charges.
    for _ in range(500):
        apart = rows[:, None] - rows[None]
        distance = np.linalg.norm(apart, axis=-1, keepdims=True) + np.eye(classes)[..., None]
        rows = _unit(rows + 0.02 * (apart / distance**3).sum(axis=1))
    return rows.astype(np.float32)


def train_toy(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    dimensions: int = 2,
    epochs: int = 40,
    seed: int = 0,
) -> ToyEmbedding:
    """Trains a small convolutional network with one head and returns its embeddings.

    The images, (N, 112, 112, 3) uint8, are averaged to 28×28 pixels. The network has three
    convolutions, and Adam trains it with a rate that falls to 0. In the plane, an identity cannot
    pass between two others. So the centers of all heads start spread evenly, and only the training
    moves them. The heads of `TOY_HEADS` have arguments for this size. Raises ValueError like
    `check_toy`.
    """
    check_toy([name], dimensions, epochs)
    setting, arguments = (TOY_HEADS | _OTHER_HEADS).get(name, ("defaults", {}))
    size = images.shape[1] // POOLED
    small = images.reshape(len(images), size, POOLED, size, POOLED, 3).mean(axis=(2, 4))
    small = small.astype(np.float32)
    classes = int(labels.max()) + 1
    keras.utils.set_random_seed(seed)
    head: Any = heads.get(name, num_classes=classes, **arguments)
    network = _network(size, dimensions)
    training = FaceClassifier(network, head)
    centers = spread_centers(classes, dimensions)
    shape = tuple(head.centers.shape)
    head.centers.assign(centers if len(shape) == 2 else np.repeat(centers[:, None], shape[1], 1))
    steps = epochs * -(-len(labels) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    training.compile(keras.optimizers.Adam(rate), jit_compile=False)
    labels = labels.astype(np.int32)
    with networks_in_turn():
        training.fit(small, labels, batch_size=BATCH, epochs=epochs, verbose=0)
    embedding = keras.ops.convert_to_numpy(network(small, training=False))
    found = keras.ops.convert_to_numpy(head.centers)
    # Sub-centers are drawn by their mean.
    return ToyEmbedding(name, setting, embedding, found.reshape(classes, -1, dimensions).mean(1),
                        labels)  # fmt: skip


def _network(size: int, dimensions: int) -> keras.Model:
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(images)
    for width in (32, 64, 128):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    return keras.Model(images, keras.layers.Dense(dimensions)(keras.layers.Flatten()(x)))


def toy_figure(toys: Sequence[ToyEmbedding], title: str) -> Figure:
    """Draws two panels for each head. Identities differ in colour, marker and number.

    In 2-D, the upper row has the embeddings and the lower row their directions. Lines are the
    centers. An arc outside the circle spans the middle 90 % of an identity's faces, so the gaps
    between the arcs are the angular margins. In 3-D, the rows show both sides of the sphere of
    directions, with the number of an identity at its center. Raises ValueError without results, or
    if they do not all have 2 or 3 dimensions.
    """
    widths = {toy.embedding.shape[1] for toy in toys}
    if widths not in ({2}, {3}):
        raise ValueError(f"`toys` must all have 2 or 3 dimensions. Received: {sorted(widths)}")
    solid, width = widths == {3}, max(2.6 * len(toys), 5.2)
    figure = new_figure(7.0 if solid else 6.5, width)
    title = textwrap.fill(title, int(10 * width))
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold")
    view = _view(toys[0].centers) if solid else None
    for place, toy in enumerate(toys, start=1):
        upper: Any = figure.add_subplot(2, len(toys), place)
        lower: Any = figure.add_subplot(2, len(toys), len(toys) + place)
        if view is None:
            _plane(upper, toy)
            _circle(lower, toy)
        else:
            _hemisphere(upper, toy, view)
            _hemisphere(lower, toy, view * [[-1], [1], [-1]])
        set_title(upper, f"{toy.head}\n{toy.setting}")
        found = toy.to_json()
        note = f"to own center {found['own']:.1f}°\nto next {found['margin']:.1f}° more\n"
        note += f"accuracy {found['accuracy']:.1%}"
        lower.text(
            0.5, -0.03, note, color=MUTED, fontsize=11, transform=lower.transAxes, ha="center",
            va="top",
        )  # fmt: skip
    return figure


def _scatter(axes: Any, points: np.ndarray, labels: np.ndarray) -> None:
    for label in np.unique(labels):
        axes.scatter(
            *points[labels == label].T, s=10, marker=_MARKERS[label % len(_MARKERS)],
            color=_color(label), linewidths=0,
        )  # fmt: skip


def _color(label: int) -> str:
    return _COLORS[label % len(_COLORS)]


def _plane(axes: Any, toy: ToyEmbedding) -> None:
    """Draws embeddings in the plane, with the origin in the middle."""
    _scatter(axes, toy.embedding, toy.labels)
    axes.scatter(0, 0, marker="+", color=MUTED, s=60, linewidths=0.8)
    half = 1.08 * float(np.abs(toy.embedding).max())
    axes.set(aspect="equal", xlim=(-half, half), ylim=(-half, half))
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    for spine in axes.spines.values():
        spine.set_color(MUTED)
        spine.set_linewidth(0.6)


def _circle(axes: Any, toy: ToyEmbedding) -> None:
    """Draws the directions of embeddings and centers in the plane."""
    points, centers = _unit(toy.embedding), _unit(toy.centers)
    turn = np.linspace(0, 2 * np.pi, 361)
    axes.plot(np.cos(turn), np.sin(turn), color=MUTED, linewidth=0.5, zorder=0)
    _scatter(axes, points, toy.labels)
    for label, center in enumerate(centers):
        axes.plot(*np.stack([0 * center, center], axis=1), color=_color(label), linewidth=1.2)
        _number(axes, 1.34 * center, label)
        middle = np.arctan2(center[1], center[0])
        mine = points[toy.labels == label]
        # Angles from the center, so that no identity is cut at ±180°.
        away = np.arctan2(mine[:, 1], mine[:, 0]) - middle
        low, high = np.percentile((away + np.pi) % (2 * np.pi) - np.pi, [5, 95])
        arc = middle + np.linspace(low, high, 60)
        axes.plot(1.15 * np.cos(arc), 1.15 * np.sin(arc), color=_color(label), linewidth=4)
    axes.set(aspect="equal", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
    axes.axis("off")


def _view(centers: np.ndarray) -> np.ndarray:
    """Returns the directions right, up and to the viewer, (3, 3), with no center at the rim."""
    candidates = _unit(np.random.default_rng(0).normal(size=(500, 3)))
    nearest = np.abs(candidates @ _unit(centers).T).min(axis=1)
    viewer = candidates[nearest.argmax()]
    right = _unit(np.cross([[0.0, 0.0, 1.0]], [viewer]))[0]
    return np.stack([right, np.cross(viewer, right), viewer])


def _hemisphere(axes: Any, toy: ToyEmbedding, view: np.ndarray) -> None:
    """Draws the directions on the side of the sphere that faces the viewer."""
    points, centers = _unit(toy.embedding) @ view.T, _unit(toy.centers) @ view.T
    quarter = np.linspace(-np.pi / 2, np.pi / 2, 91)
    for angle in np.radians(range(-90, 91, 30)):
        axes.plot(np.sin(angle) * np.cos(quarter), np.sin(quarter), color=GRID, linewidth=0.7)
        axes.plot(
            np.cos(angle) * np.sin(quarter), np.full(91, np.sin(angle)), color=GRID, linewidth=0.7
        )
    _scatter(axes, points[points[:, 2] > 0, :2], toy.labels[points[:, 2] > 0])
    for label in np.flatnonzero(centers[:, 2] > 0).tolist():
        _number(axes, centers[label, :2], label)
    axes.set(aspect="equal", xlim=(-1.15, 1.15), ylim=(-1.15, 1.15))
    axes.axis("off")


def _number(axes: Any, place: np.ndarray, label: int) -> None:
    from matplotlib.patheffects import withStroke

    axes.text(
        *place, str(label + 1), color=_color(label), fontsize=12, ha="center", va="center",
        fontweight="bold", path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
