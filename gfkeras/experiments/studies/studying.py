"""Runs of a study: the pairs protocol as it is, and once for each value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from gfkeras.errors import one_of, positive_int
from gfkeras.evaluation import COSINE, PairList
from gfkeras.evaluation.embedded import Embed
from gfkeras.evaluation.metrics import FARS
from gfkeras.evaluation.pairs import RowSimilarity, embed_pairs
from gfkeras.experiments.studies.degradations import (
    Change,
    jpeg_compression,
    principal_directions,
    quantize,
    small_image,
)
from gfkeras.experiments.studies.study import FIRST, PRINCIPAL, Study, StudyPoint

# What is measured where nothing is named: FaceNet's qualities; sides below a face's 112.
QUALITIES = (10, 20, 30, 50, 70, 90)
SIDES = (12, 16, 20, 28, 40, 56, 80)
BITS = (1, 2, 3, 4, 6, 8)

# What each study of images does to one, and to which values unless others are named.
IMAGE_STUDIES: Mapping[str, tuple[Callable[[int], Change], tuple[int, ...]]] = {
    "jpeg": (jpeg_compression, QUALITIES),
    "size": (small_image, SIDES),
}
EMBEDDING_STUDIES = ("dimension", "bits")


def study_images(
    name: str,
    embed: Callable[[Change | None], Embed],
    pairs: PairList,
    values: Sequence[int] = (),
    similarity: RowSimilarity = COSINE,
    fars: Sequence[float] = FARS,
    replicates: int = 0,
) -> Study:
    """The effect of worse images on a network (FaceNet, arXiv 1503.03832, section 5.2).

    Both images of a pair are changed alike.

    Args:
        name: "jpeg" or "size".
        embed: from what is done to each face before it is embedded, None for nothing, to a function
            that takes paths and returns `ImageEmbeddings`.
        pairs, similarity, fars, replicates: as of `evaluate_pairs`.
        values: JPEG qualities, or pixels a side; see `jpeg_compression` and `small_image`.

    Raises:
        ValueError: for another name or a value out of range, and as `evaluate_pairs`.
    """
    make, usual = IMAGE_STUDIES[one_of("name", name, IMAGE_STUDIES)]
    changes = {value: make(value) for value in sorted(set(values or usual))}
    reference = embed_pairs(embed(None), pairs).measure(similarity, fars, replicates)
    points = [
        StudyPoint(
            name, value, embed_pairs(embed(change), pairs).measure(similarity, fars, replicates)
        )
        for value, change in changes.items()
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
    """The effect of smaller embeddings of a trained network (FaceNet, sections 5.4 and 6).

    "dimension" keeps the first numbers of each embedding, and those along the principal directions
    of other faces' embeddings; "bits" makes each number an integer of few bits. FaceNet trained
    a network for each dimension, which is `model.embedding_dim` of a recipe.

    Args:
        name: "dimension" or "bits".
        embed, pairs, similarity, fars, replicates: as of `evaluate_pairs`.
        values: dimensions, 16, 32, … and all by default; or bits.
        fitted_on: (N, D) embeddings of faces in none of the pairs, for "dimension".

    Raises:
        ValueError: for another name or a value out of range, and as `evaluate_pairs`.
    """
    one_of("name", name, EMBEDDING_STUDIES)
    whole = embed_pairs(embed, pairs)
    rows = whole.faces.embedding
    width = rows.shape[1]
    if name == "dimension":
        values = values or [*(2**i for i in range(4, 16) if 2**i < width), width]
        if max(values) > width:
            raise ValueError(
                f"`values` must be at most the embedding's {width} numbers. Received: {max(values)}"
            )
        if fitted_on is None:
            raise ValueError("`fitted_on` must hold embeddings of other faces. Received: None")
        ways: dict[str, npt.NDArray[Any]] = {
            FIRST: rows,
            PRINCIPAL: rows @ principal_directions(fitted_on),
        }
        made: dict[tuple[str, int], npt.NDArray[Any]] = {
            (series, value): numbers[:, : positive_int("values", value)]
            for series, numbers in ways.items()
            for value in sorted(set(values))
        }
    else:
        made = {(name, bits): quantize(rows, bits) for bits in sorted(set(values or BITS))}
    points = [
        StudyPoint(series, value, whole.with_embeddings(less).measure(similarity, fars, replicates))
        for (series, value), less in made.items()
    ]
    return Study(name, whole.measure(similarity, fars, replicates), points)
