"""Exact search by the group-aware similarity, and the interface of the index that it searches."""

import functools
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.similarity import COSINE, Similarity
from gfkeras.inference.gallery.templates import Match, Templates


class Block(Protocol):
    """A part of an index that is searched in one step."""

    def __len__(self) -> int: ...

    def nearest(
        self, probes: npt.NDArray[np.float32], count: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Returns (P, count) cosines of the nearest rows, the largest first, and row numbers.

        Cosines are exact to 1e-5. Probes are (P, D) of length 1. `count` is at most the block's
        length.
        """

    def above(
        self, probes: npt.NDArray[np.float32], least: npt.NDArray[np.float32]
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Yields all rows with a cosine of at least `least`, (P,), to a probe, and perhaps others.

        Each item has (C,) positions of probes, (C,) row numbers and (C,) cosines, exact to 1e-5.
        """

    def embedding(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns (R, D) embeddings of rows, exactly as stored."""

    def group_feature(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
        """Returns (R, G) group features of rows, or None without groups."""

    def sketches(self, projection: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Returns all group features times a projection, (G, S), or None if that is too slow."""

    def names(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Returns the names of rows."""

    def photos(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Returns the number of photos of which each template is the mean."""


class FaceIndex(Protocol):
    """Templates by name, in no particular order.

    `widths` are (D, G) with G = None without groups. They are None if the index is empty.
    """

    @property
    def widths(self) -> tuple[int, int | None] | None: ...

    def __len__(self) -> int: ...

    def names(self) -> list[str]:
        """Returns all names, in any order."""

    def known(self, names: Sequence[str]) -> set[str]:
        """Returns the names that are in the index."""

    def get(self, names: Sequence[str]) -> Templates:
        """Returns the templates of people who are in the index, in the order of `names`."""

    def put(self, templates: Templates) -> None:
        """Adds people and replaces existing ones. After an error, nobody has changed."""

    def remove(self, names: Sequence[str]) -> None:
        """Removes people who are in the index. After an error, nobody is removed."""

    def blocks(self) -> Iterator[Block]:
        """Yields blocks that together contain every template once."""

    def flush(self) -> None:
        """Moves changes to their final storage, if the index delays that."""

    def close(self) -> None:
        """Releases resources that other processes may need."""


Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# Largest difference between an index's cosine and ours. Both are sums of a few hundred products.
SLACK = 2e-5
# Number of candidates that are requested first for each probe, unless k is larger.
FIRST = 32
# These bound the memory: candidates that are compared in one step, entries of all short lists in
# one request, and probes for which a whole block is read.
CHUNK = 16_384
LISTED = 1 << 20
PROBES = 128
# Number of dimensions of a sketch, a short projection of a group feature.
_SKETCH = 16


def exact_search(
    index: FaceIndex,
    embedding: Floats,
    group_feature: Floats | None,
    k: int,
    similarity: Similarity = COSINE,
) -> list[list[Match]]:
    """Finds the k people who are most similar to each of P probes, the best first, then by name.

    The result is the same as after a comparison with everybody. The index returns candidates by
    their cosine. Because S* = cos − β·D^γ ≤ cos, a person with a cosine below the k-th best S*
    found so far cannot be among the k best. Only these people are skipped. Embeddings, (P, D), and
    group features, (P, G) or None, have length 1, and k is at most the number of people.
    """
    search = _Search(embedding, group_feature if similarity.group_aware else None, k, similarity)
    for block in index.blocks():
        if len(block):
            search.look_at(block)
    return search.best


class _Search:
    """The best matches of each probe so far, the best first."""

    def __init__(
        self, embedding: Floats, group: Floats | None, k: int, similarity: Similarity
    ) -> None:
        self.embedding, self.group, self.k, self.similarity = embedding, group, k, similarity
        self.best: list[list[Match]] = [[] for _ in embedding]
        # The similarity of the k-th match, which a new match must reach. Minus infinity with fewer.
        self.least = np.full(len(embedding), -np.inf, np.float32)
        self._short_lists = True

    def look_at(self, block: Block) -> None:
        """Adds the matches of a block that are among the best."""
        unsure = np.arange(len(self.embedding))
        # A short list is enough if its last cosine is too low to be among the best. If it was not
        # enough for most probes in the previous block, it is not tried for this one.
        if self._short_lists or not np.isfinite(self.least).all():
            count = min(len(block), max(2 * self.k, FIRST))
            last = np.empty(len(unsure), np.float32)
            for part in _parts(unsure, max(LISTED // count, 1)):
                cosine, rows = block.nearest(self.embedding[part], count)
                probes = np.repeat(part, count)
                self._consider(block, probes, rows.reshape(-1), cosine.reshape(-1))
                last[part] = cosine[:, -1]
            if count == len(block):
                return
            unsure = np.flatnonzero(last + SLACK >= self.least)
            self._short_lists = 2 * len(unsure) <= len(self.embedding)
        for part in _parts(unsure, PROBES):
            found = block.above(self.embedding[part], self.least[part] - np.float32(SLACK))
            for probes, rows, cosine in found:
                self._consider(block, part[probes], rows, cosine)

    def _consider(self, block: Block, probes: Integers, rows: Integers, cosine: Floats) -> None:
        """Adds candidates, after excluding most of them by bounds of increasing cost."""
        bound = cosine + np.float32(SLACK)
        chosen = self._possible(np.arange(len(rows)), probes, bound)
        if self.group is not None:
            sketch = _sketch(self.group.shape[1])
            # With many candidates, reading their group features would take most of the search's
            # time. Sketches exclude candidates first.
            kept = block.sketches(sketch) if 4 * len(chosen) > len(block) else None
            if kept is not None:
                mine = self.group @ sketch
                for part in _parts(chosen, CHUNK):
                    apart = np.linalg.norm(mine[probes[part]] - kept[rows[part]], axis=1)
                    bound[part] -= self._least_penalties(apart)
                chosen = self._possible(chosen, probes, bound)
                bound[chosen] = cosine[chosen] + np.float32(SLACK)
            for part in _parts(chosen, CHUNK):
                group = block.group_feature(rows[part])
                bound[part] -= self.similarity.penalties(self.group[probes[part]], group)
            chosen = self._possible(chosen, probes, bound)
        # The most similar candidates come first, because they raise the bound for the others.
        for part in _parts(chosen[np.argsort(-bound[chosen], kind="stable")], CHUNK):
            part = self._possible(part, probes, bound)
            if len(part):
                self._score(block, probes[part], rows[part])

    def _possible(self, chosen: Integers, probes: Integers, bound: Floats) -> Integers:
        return chosen[bound[chosen] >= self.least[probes[chosen]]]

    def _least_penalties(self, apart: Floats) -> Floats:
        """Returns a lower bound of β·D^γ for group features with sketches at distance `apart`."""
        # A projection never increases a distance, except by rounding.
        least = np.maximum(apart - np.float32(SLACK), 0)
        power = {"l2": least, "squared-l2": least**2, "cosine": least**2 / 2}
        # Rounding can make the power of a smaller number the larger one.
        return self.similarity.penalty(power[self.similarity.distance]) * np.float32(1 - 1e-6)

    def _score(self, block: Block, probes: Integers, rows: Integers) -> None:
        """Adds candidates by their exact similarities."""
        mine, kept = self.embedding[probes], block.embedding(rows)
        cosine = similarities = COSINE(mine, kept, None, None)
        if self.group is not None:
            group = block.group_feature(rows)
            similarities = self.similarity(mine, kept, self.group[probes], group)
        order = np.argsort(probes, kind="stable")
        for found in np.split(order, np.flatnonzero(np.diff(probes[order])) + 1):
            probe = int(probes[found[0]])
            found = found[similarities[found] >= self.least[probe]]
            # Looking up names is slow, so only candidates that reach the k-th best are named. Ties
            # must be kept, because names decide between them.
            if len(found) > self.k:
                kth = np.partition(similarities[found], len(found) - self.k)[len(found) - self.k]
                found = found[similarities[found] >= kth]
            names, photos = block.names(rows[found]), block.photos(rows[found])
            figures = (similarities[found].tolist(), cosine[found].tolist(), photos.tolist())
            matches = [Match(name, *row) for name, *row in zip(names, *figures, strict=True)]
            # People of the short list can appear again with the rest of the block.
            people = {match.name: match for match in (*self.best[probe], *matches)}
            matches = sorted(people.values(), key=lambda match: (-match.similarity, match.name))
            self.best[probe] = matches = matches[: self.k]
            if len(matches) == self.k:
                self.least[probe] = matches[-1].similarity


def _parts(chosen: Integers, size: int) -> Iterator[Integers]:
    return (chosen[start : start + size] for start in range(0, len(chosen), size))


@functools.cache
def _sketch(width: int) -> Floats:
    """Returns orthonormal columns, (width, ≤ 16), the same for every search."""
    columns = np.random.default_rng(0).standard_normal((width, min(_SKETCH, width)))
    return np.linalg.qr(columns)[0].astype(np.float32)
