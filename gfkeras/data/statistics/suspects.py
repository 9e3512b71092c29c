"""Suspicious images found by embeddings: near duplicates, and faces that look like others."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gfkeras.errors import in_range

# Rows that are compared together. A block of scores takes 16 MiB for 8,192 images.
_BLOCK = 512


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """Two images that are almost the same: the same photo, or neighbouring video frames.

    `first` and `second` are their names, and `cosine` is that of their embeddings. `same_identity`
    is True if both are labelled as the same person.
    """

    first: str
    second: str
    cosine: float
    same_identity: bool


@dataclasses.dataclass(frozen=True)
class Mislabelled:
    """An image that is closer to another person's images than to those of its own person.

    `cosine` compares it with the mean of the other images of `identity`, its label. `cosine_other`
    compares it with the mean of the images of `looks_like`, the nearest person.
    """

    name: str
    identity: str
    cosine: float
    looks_like: str
    cosine_other: float


@dataclasses.dataclass(frozen=True)
class Suspects:
    """The findings of `find_suspects`, the most striking first.

    These are pairs above the given cosine, and images of people who have at least two images.
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
    """Compares every image with every other image and with every person.

    An image is probably mislabelled if cos(x, m_j) > cos(x, m_y) + lead. Here m_j is the direction
    of the mean of another person's embeddings, and m_y that of the image's own person without x.
    Two images are near duplicates from `duplicate_cosine` on. Embeddings are (N, D), not
    necessarily normalised. The time grows with the square of the number of images. Raises
    ValueError for different lengths, embeddings that are not finite, or a bound out of range.
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
    # A zero vector stays zero instead of becoming NaN.
    return vectors / np.maximum(norm, np.finfo(np.float32).tiny)


def _near_duplicates(
    unit: np.ndarray, names: Sequence[str], person: np.ndarray, least: float
) -> list[NearDuplicate]:
    found: list[NearDuplicate] = []
    for start in range(0, len(unit), _BLOCK):
        # Compare each row with the rows after it, so that each pair occurs once.
        scores = unit[start : start + _BLOCK] @ unit[start:].T
        rows, columns = np.nonzero(np.triu(scores, 1) >= least)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            first, second = start + row, start + column
            # If `least` is not positive, the zeros that `triu` writes below the diagonal pass too.
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
    # `add.at` adds every row of a person. `sums[person] += unit` would add only one of them.
    np.add.at(sums, person, unit)
    counts = np.bincount(person)
    means = _unit(sums)
    found: list[Mislabelled] = []
    for start in range(0, len(unit), _BLOCK):
        block, owner = unit[start : start + _BLOCK], person[start : start + _BLOCK]
        rows = np.arange(len(block))
        # The sum without the image itself gives the mean of the person's other images.
        own = np.einsum("nd,nd->n", block, _unit(sums[owner] - block))
        scores = block @ means.T
        # The image's own person is compared above, without the image itself.
        scores[rows, owner] = -np.inf
        other = scores.argmax(axis=1)
        nearest = scores[rows, other]
        for row in np.flatnonzero((counts[owner] > 1) & (nearest > own + lead)).tolist():
            filed = (str(names[start + row]), str(people[owner[row]]), float(own[row]))
            found.append(Mislabelled(*filed, str(people[other[row]]), float(nearest[row])))
    return sorted(found, key=lambda image: (image.cosine - image.cosine_other, image.name))
