"""Which people and images stand on a contact sheet."""

from __future__ import annotations

import contextlib
from collections import Counter

import numpy as np

from gfkeras.data.images import ImageError, read_photo
from gfkeras.data.records import RecordSet
from gfkeras.data.sources import Item, Source

Rows = list[tuple[str, int, list[np.ndarray]]]
COLUMNS = 8


def drawn_from_records(records: RecordSet, people: int, seed: int) -> Rows:
    """Some people of records, drawn at random, with some of their images each."""
    labels = np.asarray(records.labels)
    rng = np.random.default_rng(seed)
    present, counts = np.unique(labels, return_counts=True)
    rows: Rows = []
    for label in present[_drawn(counts, people, rng)]:
        numbers = np.flatnonzero(labels == label)
        chosen = np.sort(rng.permutation(numbers)[:COLUMNS])
        images, read, _ = records.decode(chosen)
        name = records.identities[label] if label >= 0 else "(no name)"
        rows.append((name, len(numbers), list(images[read])))
    return rows


def drawn_from_source(source: Source, people: int, seed: int) -> Rows:
    """The same of any source, which is listed twice and held in memory by names only."""
    counts: Counter[str] = Counter()
    for item in source.items():
        if isinstance(item, Item):
            counts[item.identity or "(no name)"] += 1
    names = list(counts)
    rng = np.random.default_rng(seed)
    sizes = np.array(list(counts.values()), np.int64)
    chosen = [names[index] for index in _drawn(sizes, people, rng)]
    # Which of a person's images: drawn beforehand, since they stream by.
    wanted = {name: set(rng.permutation(counts[name])[:COLUMNS].tolist()) for name in chosen}
    images: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
    seen: Counter[str] = Counter()
    for item in source.items():
        if not isinstance(item, Item) or (name := item.identity or "(no name)") not in wanted:
            continue
        if seen[name] in wanted[name]:
            # What cannot be read the statistics list.
            with contextlib.suppress(ImageError):
                images[name].append(read_photo(source.read(item.locator)))
        seen[name] += 1
    return [(name, counts[name], images[name]) for name in chosen]


def _drawn(counts: np.ndarray, people: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of people, more likely the more images they have: most sets are mostly singles."""
    if not len(counts):
        return np.zeros(0, np.int64)
    size = min(people, len(counts))
    return np.sort(rng.choice(len(counts), size, replace=False, p=counts / counts.sum()))
