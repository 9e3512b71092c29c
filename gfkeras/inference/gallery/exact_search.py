"""Exact search of an index by the group-aware similarity, which no index knows."""

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.similarity import COSINE, Similarity
from gfkeras.inference.gallery.face_index import Block, FaceIndex
from gfkeras.inference.gallery.templates import Match

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# How far an index's cosines and ours may lie apart: both are sums of a few hundred products.
SLACK = 2e-5
# Candidates of each probe that a block is first asked for, where k is not larger.
FIRST = 32
# So that what is gathered stays small: candidates compared at once, places of short lists asked
# for at once, and probes for which a block is read whole at once.
CHUNK = 16_384
LISTED = 1 << 20
PROBES = 128
_SKETCH = 16


def exact_search(
    index: FaceIndex,
    embedding: Floats,
    group_feature: Floats | None,
    k: int,
    similarity: Similarity = COSINE,
) -> list[list[Match]]:
    """Finds the k ≤ people most similar to each probe, as a comparison with everybody would.

    An index gives candidates by their cosine. Since S* = cos − β·D^γ ≤ cos, nobody whose cosine
    lies below the k-th best S* found so far can be among the k best, and nobody else is left out.
    Probes, (P, D) and (P, G), have length 1. Returns P lists, best first, ties by name.
    """
    search = _Search(embedding, group_feature if similarity.group_aware else None, k, similarity)
    for block in index.blocks():
        if len(block):
            search.look_at(block)
    return search.best


class _Search:
    """The best people of each probe so far, best first."""

    def __init__(
        self, embedding: Floats, group: Floats | None, k: int, similarity: Similarity
    ) -> None:
        self.embedding, self.group, self.k, self.similarity = embedding, group, k, similarity
        self.best: list[list[Match]] = [[] for _ in embedding]
        # The similarity that a newcomer must reach; minus infinity while there is room.
        self.least = np.full(len(embedding), -np.inf, np.float32)
        self._short_lists = True

    def look_at(self, block: Block) -> None:
        """Takes the people of a block who belong to the best."""
        unsure = np.arange(len(self.embedding))
        # A short list is enough where its last cosine cannot enter any more. Where it was not for
        # most probes in the block before, it will not be in this one.
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
        """Takes candidates, after bounds of their similarity, each more expensive than the last."""
        bound = cosine + np.float32(SLACK)
        chosen = self._possible(np.arange(len(rows)), probes, bound)
        if self.group is not None:
            sketch = _sketch(self.group.shape[1])
            # Reading many group features would take longer than the rest of the search.
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
        # The likeliest first: they raise what the others must reach.
        for part in _parts(chosen[np.argsort(-bound[chosen], kind="stable")], CHUNK):
            part = self._possible(part, probes, bound)
            if len(part):
                self._score(block, probes[part], rows[part])

    def _possible(self, chosen: Integers, probes: Integers, bound: Floats) -> Integers:
        return chosen[bound[chosen] >= self.least[probes[chosen]]]

    def _least_penalties(self, apart: Floats) -> Floats:
        """β·D^γ for the least D of group features whose sketches are `apart`."""
        # A projection brings points together, never apart, but for rounding.
        least = np.maximum(apart - np.float32(SLACK), 0)
        power = {"l2": least, "squared-l2": least**2, "cosine": least**2 / 2}
        # The power of a smaller number may be rounded to a larger one.
        return self.similarity.penalty(power[self.similarity.distance]) * np.float32(1 - 1e-6)

    def _score(self, block: Block, probes: Integers, rows: Integers) -> None:
        """Takes candidates by their exact similarities."""
        mine, kept = self.embedding[probes], block.embedding(rows)
        cosine = similarities = COSINE(mine, kept, None, None)
        if self.group is not None:
            group = block.group_feature(rows)
            similarities = self.similarity(mine, kept, self.group[probes], group)
        order = np.argsort(probes, kind="stable")
        for found in np.split(order, np.flatnonzero(np.diff(probes[order])) + 1):
            probe = int(probes[found[0]])
            found = found[similarities[found] >= self.least[probe]]
            # Only people who may stay are named: all that reach the k-th, ties included.
            if len(found) > self.k:
                kth = np.partition(similarities[found], len(found) - self.k)[len(found) - self.k]
                found = found[similarities[found] >= kth]
            names, photos = block.names(rows[found]), block.photos(rows[found])
            figures = (similarities[found].tolist(), cosine[found].tolist(), photos.tolist())
            matches = [Match(name, *row) for name, *row in zip(names, *figures, strict=True)]
            # People of a short list come again with the rest of the block.
            people = {match.name: match for match in (*self.best[probe], *matches)}
            matches = sorted(people.values(), key=lambda match: (-match.similarity, match.name))
            self.best[probe] = matches = matches[: self.k]
            if len(matches) == self.k:
                self.least[probe] = matches[-1].similarity


def _parts(chosen: Integers, size: int) -> Iterator[Integers]:
    return (chosen[start : start + size] for start in range(0, len(chosen), size))


@functools.cache
def _sketch(width: int) -> Floats:
    """Orthonormal columns (width, ≤ 16): the same directions for every search."""
    columns = np.random.default_rng(0).standard_normal((width, min(_SKETCH, width)))
    return np.linalg.qr(columns)[0].astype(np.float32)
