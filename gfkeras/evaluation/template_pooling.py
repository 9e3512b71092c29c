"""Template pooling: one vector for all images of a template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.embedded import Embedded
from gfkeras.evaluation.similarity import unit

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# How many images are summed at a time: their sorted copy fits into the cache.
_CHUNK = 1024


@dataclass(frozen=True)
class Pooling:
    """The weights that count when the images of a template are pooled.

    Attributes:
        media: average the frames of each video first, so that a long video counts as one photo.
        detector: weigh images by the score of the face detector.
        norm: weigh images by the length of their embedding before normalisation, which is small
            for images of poor quality.
    """

    media: bool = True
    detector: bool = True
    norm: bool = True


@dataclass(frozen=True, eq=False)
class PooledTemplates:
    """The T templates with at least one readable image, and the ids of the others (`missing`).

    `ids` (T,) ascend. `embedding` (T, D) and `group_feature` (T, G) or None have length 1.
    """

    ids: Integers
    embedding: Floats
    group_feature: Floats | None
    missing: Integers

    def rows(self, ids: npt.ArrayLike) -> Integers:
        """Returns the row of each id, or −1 if the template is missing."""
        wanted = np.asarray(ids, np.int64)
        if not len(self.ids):
            return np.full(len(wanted), -1, np.int64)
        # An id above all others would point behind the end of the array.
        at = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        return np.where(self.ids[at] == wanted, at, -1)


def pool_templates(
    faces: Embedded,
    templates: npt.ArrayLike,
    medias: npt.ArrayLike | None = None,
    scores: npt.ArrayLike | None = None,
    pooling: Pooling = Pooling(),
) -> PooledTemplates:
    """Pools N images into templates, as InsightFace's evaluation of IJB does.

    Each image contributes w·e: e is its unit embedding, and w the product of the chosen weights.
    Images of one media are averaged, the media of a template are summed, and the sum is
    normalised. Group features are pooled in the same way, except that the norm of the embedding
    does not count. A template whose sum is 0 has no direction, and its cosine with others is 0.

    `templates`, `medias` (for `pooling.media`) and the detector's `scores` (for `pooling.detector`)
    are (N,). Raises ValueError if one is missing or has another length, or if a score is not a
    finite number of at least 0.
    """
    ids = _column("templates", templates, len(faces.row))
    weight = np.ones(len(ids), np.float32)
    if pooling.detector:
        weight = _column("scores", scores, len(ids)).astype(np.float32)
        if not ((weight >= 0) & np.isfinite(weight)).all():
            bad = weight[~((weight >= 0) & np.isfinite(weight))][0]
            raise ValueError(f"`scores` must be finite and at least 0. Received: {bad}")
    media = _column("medias", medias, len(ids)) if pooling.media else np.arange(len(ids))
    if pooling.norm and faces.norm is None:
        raise ValueError("`pooling.norm` needs the norms of embeddings. Received: no norms")
    read = np.flatnonzero(faces.row >= 0)
    # Sort the images: those of one template, and in it those of one media, become neighbours.
    read = read[np.lexsort((media[read], ids[read]))]
    rows, weight = faces.row[read], weight[read]
    first = np.ones(len(read), np.bool_)
    first[1:] = (np.diff(ids[read]) != 0) | (np.diff(media[read]) != 0)
    of_media = np.cumsum(first) - 1
    count = np.bincount(of_media).astype(np.float32)
    found, of_template = np.unique(ids[read], return_inverse=True)
    share = weight / count[of_media]
    norm = faces.norm[rows] if pooling.norm and faces.norm is not None else np.float32(1)
    embedding = _sums(faces.embedding, rows, share * norm, of_template, len(found))
    group = faces.group_feature
    if group is not None:
        # Normalise by the weight. A normalised copy of all group features would double the memory.
        length = np.sqrt(np.einsum("nd,nd->n", group, group))[rows]
        share = share / np.where(length > 0, length, 1)
        group = unit(_sums(group, rows, share, of_template, len(found)))
    return PooledTemplates(found, unit(embedding), group, np.setdiff1d(ids, found))


def _sums(values: Floats, rows: Integers, weight: Floats, target: Integers, count: int) -> Floats:
    """Returns weighted sums of rows by `target`, which must ascend."""
    sums = np.zeros((count, values.shape[1]), np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        mine = target[part]
        starts = np.flatnonzero(np.append(True, np.diff(mine) != 0))
        # Rows of one template are neighbours, so `reduceat` applies. It is much faster than
        # `add.at`.
        sums[mine[starts]] += np.add.reduceat(
            values[rows[part]] * weight[part, None], starts, axis=0
        )
    return sums


def _column(name: str, values: npt.ArrayLike | None, count: int) -> npt.NDArray[Any]:
    column = np.asarray(values) if values is not None else np.zeros(0)
    if column.shape != (count,):
        raise ValueError(
            f"`{name}` must have one entry for each of {count} images. "
            f"Received: {'none' if values is None else f'shape {column.shape}'}"
        )
    return column
