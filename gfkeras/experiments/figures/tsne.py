"""t-SNE of embeddings, as in Figure 4 of the GroupFace paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import wrong, wrong_value
from gfkeras.evaluation.plots.style import COLORS, INK, MUTED, WIDTH, new_figure, plain, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each person gets a colour and a marker. The 70 combinations repeat only after that.
_COLORS = (*COLORS, INK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")
# In points². A star is thin, so it needs a larger size.
_SIZES = {"*": 52, "D": 22}
# In inches: the least width of a panel, a row of the legend, and its marker and one letter.
_PANEL, _ROW, _MARKER, _LETTER = 3.3, 0.22, 0.6, 0.083


@dataclass(frozen=True, eq=False)
class Projection:
    """Embeddings of known people, projected to the plane by t-SNE.

    Attributes:
        points: (N, 2) float32. Distances between far points have no meaning.
        silhouette: mean silhouette of the embeddings, by cosine distance, from −1 to 1.
        nearest: share of the images whose nearest other image shows the same person.
    """

    points: np.ndarray
    silhouette: float
    nearest: float

    def to_json(self) -> dict[str, Any]:
        """Returns everything for `json.dump`. `nearest` is called "nearest_same"."""
        return {
            "silhouette": self.silhouette,
            "nearest_same": self.nearest,
            "points": self.points.tolist(),
        }


def project(
    embedding: npt.ArrayLike, labels: npt.ArrayLike, perplexity: float | None = None, seed: int = 0
) -> Projection:
    """Projects L2-normalised embeddings by t-SNE (van der Maaten and Hinton, 2008).

    scikit-learn computes it. For normalised embeddings the squared distance is 2 − 2 cos. t-SNE
    starts from the principal components, so the same arguments give the same points.

    Args:
        embedding: (N, D) float, of any length, N at least 4.
        labels: (N,) the person on each image: at least two people, one of them with two images.
        perplexity: the approximate number of neighbours that count, below N. By default 30, or a
            third of N − 1 if that is less.

    Raises:
        ValueError: if the shapes, the number of people or the perplexity do not fit.
    """
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    rows = np.asarray(embedding, np.float64)
    who = np.asarray(labels)
    if rows.ndim != 2 or who.shape != (len(rows),):
        received = f"shapes {rows.shape} and {who.shape}"
        raise wrong("embedding", "be (N, D) and `labels` (N,)", received)
    if len(rows) < 4 or not 2 <= len(np.unique(who)) < len(rows):
        raise ValueError(
            "`labels` must belong to at least four images and two people, and one person must "
            f"have two images. Received: {len(rows)} images of {len(np.unique(who))} people"
        )
    if perplexity is None:
        perplexity = min(30.0, (len(rows) - 1) / 3)
    if not 0 < perplexity < len(rows):
        raise wrong_value("perplexity", f"be positive and below the {len(rows)} images", perplexity)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(unit)
    cosines = unit @ unit.T
    # An image is not its own neighbour.
    np.fill_diagonal(cosines, -np.inf)
    return Projection(
        points=points.astype(np.float32),
        silhouette=float(silhouette_score(unit, who, metric="cosine")),
        nearest=float(np.mean(who[cosines.argmax(axis=1)] == who)),
    )


def tsne_figure(
    panels: Mapping[str, Projection], labels: npt.ArrayLike, names: Sequence[str]
) -> Figure:
    """Draws a panel for each embedding of the same images. People differ in colour and marker.

    `panels` are projections by title, such as "Baseline", "v" and "v̄". `labels` (N,) are positions
    in `names`, the people's names for the legend.
    """
    who = np.asarray(labels)
    sizes = {len(panel.points) for panel in panels.values()}
    if sizes != {len(who)}:
        received = sorted(sizes) or "none"
        raise wrong("panels", f"each have a point for each of the {len(who)} images", received)
    width = max(WIDTH, _PANEL * len(panels))
    room = _MARKER + _LETTER * max(len(name) for name in names)
    # The longest name decides how many columns of the legend fit.
    columns = max(1, min(len(names), 5, int(width / room)))
    legend_rows = math.ceil(len(names) / columns)
    # The panels are square. Titles and the legend need extra height.
    figure = new_figure(width / len(panels) + 0.75 + _ROW * legend_rows, width)
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.06)  # type: ignore[union-attr]
    for place, (title, panel) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for label, name in enumerate(names):
            mine, marker = who == label, _MARKERS[label % len(_MARKERS)]
            axes.scatter(
                *panel.points[mine].T, s=_SIZES.get(marker, 26), marker=marker,
                color=_COLORS[label % len(_COLORS)], edgecolors="white", linewidths=0.4,
                label=plain(name) if place == 1 else None,
            )  # fmt: skip
        _frame(axes, panel.points)
        # Fonts have no letter v with a bar, so let mathtext draw it.
        shown = title.replace("v̄", r"$\mathbf{\bar{v}}$")
        set_title(axes, shown)
        axes.set_xlabel(
            f"Silhouette {panel.silhouette:.2f}\nNearest is the same person: {panel.nearest:.1%}",
            color=MUTED, fontsize=10, loc="left",
        )  # fmt: skip
    figure.legend(
        loc="outside lower center", ncols=columns, frameon=False, fontsize=11, labelcolor=INK,
        handletextpad=0.3, columnspacing=1.4, markerscale=1.3,
    )  # fmt: skip
    return figure


def _frame(axes: object, points: np.ndarray) -> None:
    """Draws a square around the points, without ticks, because t-SNE coordinates have no unit."""
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    half = 0.54 * float(np.ptp(points, axis=0).max())
    axes.set(  # type: ignore[attr-defined]
        xticks=[], yticks=[], aspect="equal", xlim=(middle[0] - half, middle[0] + half),
        ylim=(middle[1] - half, middle[1] + half),
    )  # fmt: skip
    for spine in axes.spines.values():  # type: ignore[attr-defined]
        spine.set_color(MUTED)
        spine.set_linewidth(0.6)
