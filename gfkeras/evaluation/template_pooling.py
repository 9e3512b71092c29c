"""Template pooling: one vector for all images of a subject's set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.embedded import Embedded
from gfkeras.evaluation.similarity import unit

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Images summed at once: their sorted copy fits the cache.
_CHUNK = 1024


@dataclass(frozen=True)
class Pooling:
    """Weights of the images of a template.

    Attributes:
        media: frames of one video are averaged first, so that a long video counts as one photo.
        detector: images count by the detector's score.
        norm: images count by the length of their embedding before it was normalised, which is small
            for poor images.
    """

    media: bool = True
    detector: bool = True
    norm: bool = True


@dataclass(frozen=True, eq=False)
class PooledTemplates:
    """The T templates of which at least one image could be read, and the ids of the others.

    `ids` (T,) ascend; `embedding` (T, D) and `group_feature` (T, G) or None have length 1.
    """

    ids: Integers
    embedding: Floats
    group_feature: Floats | None
    missing: Integers

    def rows(self, ids: npt.ArrayLike) -> Integers:
        """The row of each id; −1 where it is missing."""
        wanted = np.asarray(ids, np.int64)
        if not len(self.ids):
            return np.full(len(wanted), -1, np.int64)
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

    An image counts w·e, e its unit embedding and w the product of the weights asked for. Images of
    one media of a template are averaged, the medias summed, the sum normalised. Group features are
    pooled in the same way, without the norm's weight, which is the embedding's. A template whose
    sum is 0 has no direction, and the cosine 0 with every other.

    `templates`, `medias` (for `pooling.media`) and the detector's `scores` (for `pooling.detector`)
    are (N,). ValueError where one is missing or of another length, or a score is not a finite
    number of at least 0.
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
        raise ValueError("`pooling.norm` needs the norms of embeddings. Received: none")
    read = np.flatnonzero(faces.row >= 0)
    # Images of one media of one template side by side.
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
        # Of length 1 by their weight: a unit copy of all of them would be as large again.
        length = np.sqrt(np.einsum("nd,nd->n", group, group))[rows]
        share = share / np.where(length > 0, length, 1)
        group = unit(_sums(group, rows, share, of_template, len(found)))
    return PooledTemplates(found, unit(embedding), group, np.setdiff1d(ids, found))


def _sums(values: Floats, rows: Integers, weight: Floats, target: Integers, count: int) -> Floats:
    """Weighted sums of rows by target, which ascends."""
    sums = np.zeros((count, values.shape[1]), np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        mine = target[part]
        starts = np.flatnonzero(np.append(True, np.diff(mine) != 0))
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
