"""Suspicious images by their embeddings: near duplicates, and faces like another person."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gfkeras.errors import in_range

# Rows compared at once: a block of scores takes 16 MiB for 8,192 images.
_BLOCK = 512


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """Two images, by name, that are nearly one: the same photo, or frames of a moment.

    `cosine` is that of their embeddings; `same_identity` if both are filed under one person.
    """

    first: str
    second: str
    cosine: float
    same_identity: bool


@dataclasses.dataclass(frozen=True)
class Mislabelled:
    """An image that is nearer to another person's images than to those of its own.

    `cosine` is to the mean of the other images of `identity`, under which it is filed;
    `cosine_other` to the mean of those of `looks_like`, the nearest person.
    """

    name: str
    identity: str
    cosine: float
    looks_like: str
    cosine_other: float


@dataclasses.dataclass(frozen=True)
class Suspects:
    """The findings of `find_suspects`, the most striking first.

    Pairs above the cosine asked for, and images of people with two images or more.
    """

    near_duplicates: list[NearDuplicate]
    mislabelled: list[Mislabelled]


def find_suspects(
    embedding: np.ndarray,
    names: Sequence[str],
    identities: Sequence[str],
    duplicate_cosine: float = 0.9,
    lead: float = 0.05,
) -> Suspects:
    """Compares every image with every other, and with every person.

    An image is likely mislabelled if cos(x, m_j) > cos(x, m_y) + lead, with m_j the direction of
    the mean of another person's embeddings and m_y that of its own person's without x itself. The
    time grows with the square of the number of images.

    Args:
        embedding: (N, D); need not be normalised.
        names: N names of images.
        identities: N people.
        duplicate_cosine: least cosine of near-duplicates.
        lead: how much nearer the other person must be.

    Raises:
        ValueError: for lengths that differ, infinite embeddings, or a bound out of its range.
    """
    embedding = np.asarray(embedding, np.float32)
    if embedding.ndim != 2 or not len(embedding) == len(names) == len(identities):
        raise ValueError(
            "`embedding`, `names` and `identities` must be equally long, `embedding` (N, D). "
            f"Received: shape {embedding.shape}, {len(names)} names, {len(identities)} identities"
        )
    if not np.isfinite(embedding).all():
        raise ValueError("`embedding` must be finite. Received: NaN or infinite values")
    in_range("duplicate_cosine", duplicate_cosine, -1, 1)
    in_range("lead", lead, 0, 2)
    unit = _unit(embedding)
    people, person = np.unique(np.asarray(identities, object).astype(str), return_inverse=True)
    return Suspects(
        _near_duplicates(unit, names, person, duplicate_cosine),
        _mislabelled(unit, names, people, person, lead),
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norm, np.finfo(np.float32).tiny)


def _near_duplicates(
    unit: np.ndarray, names: Sequence[str], person: np.ndarray, least: float
) -> list[NearDuplicate]:
    found: list[NearDuplicate] = []
    for start in range(0, len(unit), _BLOCK):
        # Each pair once: a block against what comes after each of its rows.
        scores = unit[start : start + _BLOCK] @ unit[start:].T
        rows, columns = np.nonzero(np.triu(scores, 1) >= least)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            first, second = start + row, start + column
            if column > row:
                same, score = bool(person[first] == person[second]), float(scores[row, column])
                found.append(NearDuplicate(str(names[first]), str(names[second]), score, same))
    return sorted(found, key=lambda pair: (-pair.cosine, pair.first, pair.second))


def _mislabelled(
    unit: np.ndarray, names: Sequence[str], people: np.ndarray, person: np.ndarray, lead: float
) -> list[Mislabelled]:
    if len(people) < 2:
        return []
    sums = np.zeros((len(people), unit.shape[1]), np.float32)
    np.add.at(sums, person, unit)
    counts = np.bincount(person)
    means = _unit(sums)
    found: list[Mislabelled] = []
    for start in range(0, len(unit), _BLOCK):
        block, owner = unit[start : start + _BLOCK], person[start : start + _BLOCK]
        rows = np.arange(len(block))
        own = np.einsum("nd,nd->n", block, _unit(sums[owner] - block))
        scores = block @ means.T
        scores[rows, owner] = -np.inf
        other = scores.argmax(axis=1)
        nearest = scores[rows, other]
        for row in np.flatnonzero((counts[owner] > 1) & (nearest > own + lead)).tolist():
            filed = (str(names[start + row]), str(people[owner[row]]), float(own[row]))
            found.append(Mislabelled(*filed, str(people[other[row]]), float(nearest[row])))
    return sorted(found, key=lambda image: (image.cosine - image.cosine_other, image.name))
