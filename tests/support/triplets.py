"""Triplet losses in float64 from their definitions, with loops over all triplets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def distances(rows: np.ndarray, distance: str, normalize: bool) -> np.ndarray:
    rows = rows.astype("float64")
    if normalize or distance == "angular":
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(norms > 0, norms, 1)
    squared = ((rows[:, None] - rows[None]) ** 2).sum(-1)
    if distance == "squared-l2":
        return squared
    if distance == "l2":
        return np.sqrt(squared)
    return np.arccos(np.clip(rows @ rows.T, -1, 1))


def chosen(of_pair: np.ndarray, d_ap: float, mining: str, no_semi_hard: str) -> list[float]:
    """Returns the distances of the negatives that a pair is compared with."""
    if mining == "all":
        return list(of_pair)
    if mining == "hard":
        return [of_pair.min()]
    farther = of_pair[of_pair > d_ap]
    if len(farther):
        return [farther.min()]
    return {"skip": [], "hardest": [of_pair.min()], "easiest": [of_pair.max()]}[no_semi_hard]


def triplet_loss(
    labels: np.ndarray,
    rows: np.ndarray,
    margin: float = 0.2,
    mining: str = "semi-hard",
    distance: str = "squared-l2",
    normalize: bool = True,
    positives: str = "all",
    no_semi_hard: str = "skip",
    soft: bool = False,
    allowed: Callable[[int, int, int], bool] = lambda a, p, n: True,
) -> float:
    """Returns the mean cost of the triplets for which `allowed(a, p, n)` is true."""
    d = distances(rows, distance, normalize)
    total, count = 0.0, 0

    def cost(difference):
        return np.logaddexp(0, difference) if soft else max(difference + margin, 0)

    everything = range(len(labels))
    for a in everything:
        negatives = {}
        for p in everything:
            others = [n for n in everything if labels[n] != labels[a] and allowed(a, p, n)]
            if p != a and labels[p] == labels[a] and others:
                negatives[p] = d[a, others]
        if positives == "hardest" and negatives:
            farthest = max(negatives, key=lambda p, a=a: d[a, p])
            negatives = {farthest: negatives[farthest]}
        for p, of_pair in negatives.items():
            total += sum(cost(d[a, p] - n) for n in chosen(of_pair, d[a, p], mining, no_semi_hard))
            count += len(of_pair) if mining == "all" else 1
    return total / count if count else 0.0
