"""Toy embeddings: eight identities in two or three dimensions, trained with each head."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gfkeras import heads
from gfkeras.errors import by_name, positive_int
from gfkeras.evaluation.plots.style import COLORS, INK, MUTED, new_figure, set_title
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
BATCH, RATE, POOLED = 64, 2e-3, 4
_COLORS = (*COLORS, INK, "#8c6d31")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")


@dataclass(frozen=True, eq=False)
class ToyEmbedding:
    """The embeddings of a small network that was trained with one head.

    Attributes:
        head, setting: the head and its arguments, for the title.
        embedding: (N, K) float32 of the training faces.
        centers: (C, K) float32, the head's centers.
        labels: (N,) int.
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

    The images are averaged to 28×28 pixels. The network has three convolutions, and Adam trains it
    with a rate that falls to 0. In the plane, an identity cannot pass between two others. So the
    centers of all heads start spread evenly, and only the training moves them.

    Args:
        name: a head of `gfkeras.heads`. Those of `TOY_HEADS` have arguments for this size.
        images: (N, 112, 112, 3), uint8.
        labels: (N,) int, from 0.
        dimensions: K, the width of the embedding.
        epochs: number of epochs.
        seed: seed of weights and batches.

    Raises:
        ValueError: see `check_toy`.
    """
    check_toy([name], dimensions, epochs)
    setting, arguments = TOY_HEADS.get(name, ("defaults", {}))
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
    training.fit(small, labels.astype(np.int32), batch_size=BATCH, epochs=epochs, verbose=0)
    embedding = network.predict(small, batch_size=256, verbose=0)
    found = keras.ops.convert_to_numpy(head.centers)
    # Sub-centers are drawn by their mean.
    return ToyEmbedding(name, setting, embedding, found.reshape(classes, -1, dimensions).mean(1),
                        np.asarray(labels))  # fmt: skip


def _network(size: int, dimensions: int) -> keras.Model:
    images = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(images)
    for width in (32, 64, 128):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    return keras.Model(images, keras.layers.Dense(dimensions)(keras.layers.Flatten()(x)))


def toy_figure(toys: Sequence[ToyEmbedding], title: str) -> Figure:
    """Draws the embeddings of each head as they are, and their directions below.

    Identities differ in colour and marker. In the lower row, lines are the centers, which have the
    identities' numbers. In the plane, an arc outside the circle spans the middle 90 % of an
    identity's faces, so the gaps between the arcs are the angular margins.

    Args:
        toys: results of `train_toy` with equal dimensions, 2 or 3.
        title: the network and the data, above all panels.

    Raises:
        ValueError: without results, or for another number of dimensions.
    """
    widths = {toy.embedding.shape[1] for toy in toys}
    if widths not in ({2}, {3}):
        raise ValueError(f"`toys` must all have 2 or 3 dimensions. Received: {sorted(widths)}")
    (dimensions,) = widths
    solid, width = dimensions == 3, max(2.6 * len(toys), 5.2)
    figure = new_figure(6.3, width)
    title = textwrap.fill(title, int(10 * width))
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold")
    projection = {"projection": "3d"} if solid else {}
    for place, toy in enumerate(toys, start=1):
        upper: Any = figure.add_subplot(2, len(toys), place, **projection)
        _scatter(upper, toy.embedding, toy.labels)
        upper.scatter(*np.zeros((dimensions, 1)), marker="+", color=MUTED, s=60, linewidths=0.8)
        set_title(upper, f"{toy.head}\n{toy.setting}")
        lower: Any = figure.add_subplot(2, len(toys), len(toys) + place, **projection)
        _directions(lower, toy)
        found = toy.to_json()
        note = f"to own center {found['own']:.1f}°\nto next {found['margin']:.1f}° more\n"
        note += f"accuracy {found['accuracy']:.1%}"
        place_ = {"transform": lower.transAxes, "ha": "center", "va": "top"}
        (lower.text2D if solid else lower.text)(
            0.5, -0.02, note, color=MUTED, fontsize=11, **place_
        )
    return figure


def _scatter(axes: Any, points: np.ndarray, labels: np.ndarray, size: float = 9) -> None:
    for label in np.unique(labels):
        axes.scatter(
            *points[labels == label].T, s=size, marker=_MARKERS[label % len(_MARKERS)],
            color=_COLORS[label % len(_COLORS)], linewidths=0,
        )  # fmt: skip
    half = 1.08 * float(np.abs(points).max())
    limits = {f"{axis}lim": (-half, half) for axis in "xyz"[: points.shape[1]]}
    axes.set(aspect="equal", **limits)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    if points.shape[1] == 2:
        for spine in axes.spines.values():
            spine.set_color(MUTED)
            spine.set_linewidth(0.6)


def _directions(axes: Any, toy: ToyEmbedding) -> None:
    """Draws unit embeddings and centers."""
    points, centers = _unit(toy.embedding), _unit(toy.centers)
    solid = points.shape[1] == 3
    if solid:
        u, v = np.mgrid[0 : 2 * np.pi : 25j, 0 : np.pi : 13j]
        ball = np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)
        axes.plot_wireframe(*ball, color=MUTED, linewidth=0.25, alpha=0.5)
    else:
        turn = np.linspace(0, 2 * np.pi, 361)
        axes.plot(np.cos(turn), np.sin(turn), color=MUTED, linewidth=0.5, zorder=0)
    _scatter(axes, points, toy.labels)
    for label, center in enumerate(centers):
        color = _COLORS[label % len(_COLORS)]
        axes.plot(*np.stack([0 * center, center], axis=1), color=color, linewidth=1.2)
        axes.text(*(1.34 * center), str(label + 1), color=color, fontsize=11, ha="center",
                  va="center", fontweight="bold")  # fmt: skip
        if not solid:
            middle = np.arctan2(center[1], center[0])
            mine = points[toy.labels == label]
            # Angles from the center, so that no identity is cut at ±180°.
            away = np.arctan2(mine[:, 1], mine[:, 0]) - middle
            low, high = np.percentile((away + np.pi) % (2 * np.pi) - np.pi, [5, 95])
            arc = middle + np.linspace(low, high, 60)
            axes.plot(1.15 * np.cos(arc), 1.15 * np.sin(arc), color=color, linewidth=4)
    half = 1.0 if solid else 1.5
    axes.set(**{f"{axis}lim": (-half, half) for axis in "xyz"[: points.shape[1]]})
    axes.axis("off")


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
