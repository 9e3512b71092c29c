"""A pairs protocol measured repeatedly with degraded images or reduced embeddings, and its plot."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gfkeras.data.jpeg import decode_jpeg
from gfkeras.errors import one_of, positive_int, wrong
from gfkeras.evaluation import COSINE, PairList, PairsResult
from gfkeras.evaluation.embedded import Embed
from gfkeras.evaluation.metrics import FARS, far_name
from gfkeras.evaluation.pairs import RowSimilarity, embed_pairs
from gfkeras.evaluation.plots import style
from gfkeras.evaluation.similarity import unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Change = Callable[[np.ndarray], np.ndarray]

Floats = npt.NDArray[np.floating[Any]]


def jpeg_compression(quality: int) -> Change:
    """Returns a function that stores a face (H, W, 3) uint8 as JPEG and reads it back.

    `quality` is from 1 to 100. It uses libjpeg's tables with colour at half resolution (4:2:0), as
    Pillow, OpenCV and most cameras do. Losses from earlier compression remain: aligned faces often
    come from JPEGs.
    """
    if positive_int("quality", quality) > 100:
        raise ValueError(f"`quality` must be from 1 to 100. Received: quality={quality!r}")

    def change(face: np.ndarray) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray(face).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
        return decode_jpeg(stream.getvalue())

    return change


def small_image(side: int) -> Change:
    """Returns a function that shrinks a face (S, S, 3) uint8 to `side`×`side` and enlarges it back.

    Both steps use Pillow's bilinear filter. Shrinking averages with a triangle as wide as two
    pixels of the small image. Enlarging interpolates. The small image is uint8, like an image file.
    A face of that size already stays as it is. A larger `side` raises ValueError.
    """
    positive_int("side", side)

    def change(face: np.ndarray) -> np.ndarray:
        size = face.shape[0]
        if side > size:
            raise ValueError(f"`side` must be at most the faces' {size} pixels. Received: {side}")
        if side == size:
            return face
        small = Image.fromarray(face).resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(small.resize((size, size), Image.Resampling.BILINEAR))

    return change


def principal_directions(embedding: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns the directions (D, D), one per column, along which embeddings are longest, in order.

    The embeddings (N, D), N at least D, must be of faces that are not scored. The directions are
    principal components without subtracting the mean, which keeps cosines: all D directions only
    rotate the embeddings.
    """
    rows = unit(np.asarray(embedding)).astype(np.float64)
    if len(rows) < rows.shape[1]:
        expected = f"hold at least as many faces as dimensions, {rows.shape[1]}"
        raise wrong("embedding", expected, len(rows))
    _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    # `eigh` sorts by ascending length.
    return vectors[:, ::-1]


def quantize(embedding: npt.ArrayLike, bits: int) -> npt.NDArray[np.int16]:
    """Returns each number of an embedding (N, D) as an integer of `bits` bits, stored in int16.

    `bits` is from 1 to 16, and 8 in FaceNet. The formula is round(e · (2^(bits−1) − 1) / max|e|).
    Each embedding uses its own maximum, which need not be stored, because a cosine does not depend
    on the length. One bit keeps only the signs, −1 and 1. A zero embedding stays zero, except for
    one bit, which has no zero.
    """
    if positive_int("bits", bits) > 16:
        raise ValueError(f"`bits` must be from 1 to 16. Received: bits={bits!r}")
    rows = np.asarray(embedding, np.float64)
    if bits == 1:
        return np.where(rows < 0, -1, 1).astype(np.int16)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    # Symmetric levels: the value −2^(bits−1) is not used.
    levels = 2 ** (bits - 1) - 1
    return np.rint(rows * (levels / np.where(largest > 0, largest, 1))).astype(np.int16)


# The FAR of FaceNet's tables.
FACENET_FAR = 1e-3

# The two series of "dimension": the first numbers of an embedding, and the numbers along the
# principal directions of other faces.
FIRST, PRINCIPAL = "first", "principal"
AXES = {
    "jpeg": "JPEG quality",
    "size": "Image side in pixels",
    "dimension": "Dimensions",
    "bits": "Bits a number",
}

# For each study of images: the function that changes an image, and the default values. The JPEG
# qualities are FaceNet's. The sides are below the 112 pixels of a face.
IMAGE_STUDIES: Mapping[str, tuple[Callable[[int], Change], tuple[int, ...]]] = {
    "jpeg": (jpeg_compression, (10, 20, 30, 50, 70, 90)),
    "size": (small_image, (12, 16, 20, 28, 40, 56, 80)),
}
EMBEDDING_STUDIES = ("dimension", "bits")
BITS = (1, 2, 3, 4, 6, 8)

Interval = tuple[float, float] | None
Pick = Callable[[PairsResult], tuple[float, Interval]]
_LABELS = {FIRST: "first numbers", PRINCIPAL: "principal directions"}
_LOGARITHMIC = ("size", "dimension")


@dataclass(frozen=True, eq=False)
class StudyPoint:
    """One measurement of a study: its series, the value and the result."""

    series: str
    value: int
    result: PairsResult


@dataclass(frozen=True, eq=False)
class Study:
    """The measurements of a study: "jpeg", "size", "dimension" or "bits".

    `reference` is the result of the same pairs without any change.
    """

    name: str
    reference: PairsResult
    points: list[StudyPoint]

    @property
    def axis(self) -> str:
        """The axis label for the values."""
        return AXES[self.name]

    @property
    def far(self) -> str:
        """The FAR to report. See `readable_far`."""
        return readable_far(self.reference)

    def series(self) -> dict[str, list[StudyPoint]]:
        """Returns the points by series, values ascending."""
        found: dict[str, list[StudyPoint]] = {}
        for point in sorted(self.points, key=lambda point: point.value):
            found.setdefault(point.series, []).append(point)
        return found

    def to_json(self) -> dict[str, Any]:
        """Returns the metrics of each point, for `json.dump`."""
        kept = (
            "accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "intervals", "pairs", "skipped",
        )  # fmt: skip
        points = [
            {"series": point.series, "value": point.value}
            | {key: value for key, value in point.result.to_json().items() if key in kept}
            for points in self.series().values()
            for point in points
        ]
        return {"name": self.name, "axis": self.axis, "points": points}


def readable_far(result: PairsResult) -> str:
    """Returns FaceNet's FAR, 1e-3, or the smallest larger FAR that the pairs can measure."""
    measured = [name for name, tar in result.tar_at_far.items() if tar is not None]
    if not measured:
        return far_name(max(FARS))
    # FARs below FaceNet's come last. They depend on few impostor pairs.
    return min(measured, key=lambda name: (float(name) < FACENET_FAR, float(name)))


def study_figure(study: Study) -> Figure:
    """Draws accuracy and TAR at FAR over the values. Bands are 95 % intervals.

    The dashed line is the unchanged model on unchanged images.
    """
    if not study.points:
        raise ValueError("`study` must have at least one point. Received: no points")
    figure = style.new_figure()
    far = study.far
    panels: Mapping[str, Pick] = {
        "Accuracy": lambda r: (r.accuracy, (r.intervals or {}).get("accuracy")),
        f"TAR at FAR {far}": lambda r: (
            r.tar_at_far.get(far) or 0.0, (r.intervals or {}).get("tar_at_far", {}).get(far),
        ),
    }  # fmt: skip
    for place, (label, pick) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        style.dress(axes, study.axis, label)
        _panel(axes, study, pick)
    # Both panels have the same lines, so one legend is enough.
    handles, labels = figure.axes[0].get_legend_handles_labels()
    style.legend_below(figure, 3, handles=handles, labels=labels)
    return figure


def _panel(axes: Axes, study: Study, pick: Pick) -> None:
    for i, (series, points) in enumerate(study.series().items()):
        x = [point.value for point in points]
        figures = [pick(point.result) for point in points]
        look, label = style.line_style(i), _LABELS.get(series, "measured")
        axes.plot(x, [y for y, _ in figures], **look, marker="o", markersize=4.5, label=label)
        if all(interval is not None for _, interval in figures):
            low, high = np.array([interval for _, interval in figures]).T
            axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
    look = {"color": style.MUTED, "linestyle": "--", "linewidth": 1.5}
    axes.axhline(pick(study.reference)[0], **look, label="nothing changed")
    if study.name in _LOGARITHMIC:
        axes.set_xscale("log", base=2)
    ticks = sorted({point.value for point in study.points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(style.percent)


def study_images(
    name: str,
    embed: Callable[[Change | None], Embed],
    pairs: PairList,
    values: Sequence[int] = (),
    similarity: RowSimilarity = COSINE,
    fars: Sequence[float] = FARS,
    replicates: int = 0,
) -> Study:
    """Measures the effect of degraded images (FaceNet, arXiv 1503.03832, section 5.2).

    Both images of a pair are changed in the same way, for "jpeg" at qualities and for "size" at
    sides in pixels (see `jpeg_compression` and `small_image`). `embed` takes the change of each
    face, or None, and returns a function from paths to `ImageEmbeddings`. See `evaluate_pairs` for
    the other arguments.
    """
    make, usual = IMAGE_STUDIES[one_of("name", name, IMAGE_STUDIES)]
    # Make all changes first: a wrong value should fail before any image is embedded.
    changes = {value: make(value) for value in sorted(set(values or usual))}
    reference = embed_pairs(embed(None), pairs).measure(similarity, fars, replicates)
    points = [
        StudyPoint(name, n, embed_pairs(embed(change), pairs).measure(similarity, fars, replicates))
        for n, change in changes.items()
    ]
    return Study(name, reference, points)


def study_embeddings(
    name: str,
    embed: Embed,
    pairs: PairList,
    values: Sequence[int] = (),
    similarity: RowSimilarity = COSINE,
    fars: Sequence[float] = FARS,
    replicates: int = 0,
    fitted_on: npt.NDArray[Any] | None = None,
) -> Study:
    """Measures the effect of smaller embeddings of a trained model (FaceNet, sections 5.4 and 6).

    "dimension" keeps the first numbers of each embedding, and separately the numbers along the
    principal directions of other faces' embeddings, `fitted_on` (N, D). "bits" makes each number an
    integer of few bits. `values` are numbers of dimensions, by default 16, 32, … and all, or
    numbers of bits. FaceNet trained a separate network for each dimension. The recipe key
    `model.embedding_dim` does that. See `evaluate_pairs` for the other arguments.
    """
    one_of("name", name, EMBEDDING_STUDIES)
    # Embed the images once. All reductions start from these embeddings.
    whole = embed_pairs(embed, pairs)
    rows = whole.faces.embedding
    width = rows.shape[1]
    if name == "dimension":
        values = values or [*(2**i for i in range(4, 16) if 2**i < width), width]
        if max(values) > width:
            raise wrong("values", f"be at most the embedding's {width} numbers", max(values))
        if fitted_on is None:
            raise ValueError("`fitted_on` must hold embeddings of other faces. Received: None")
        turned: npt.NDArray[Any] = rows @ principal_directions(fitted_on)
        made: dict[tuple[str, int], npt.NDArray[Any]] = {
            (series, value): numbers[:, : positive_int("values", value)]
            for series, numbers in ((FIRST, rows), (PRINCIPAL, turned))
            for value in sorted(set(values))
        }
    else:
        bits = sorted(set(values or BITS))
        made = {(name, count): quantize(rows, count) for count in bits}
    points = [
        StudyPoint(series, value, whole.with_embeddings(less).measure(similarity, fars, replicates))
        for (series, value), less in made.items()
    ]
    return Study(name, whole.measure(similarity, fars, replicates), points)
