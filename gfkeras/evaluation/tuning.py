"""Choosing β and γ of the group-aware similarity on development pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfkeras.evaluation.embedded import Embed
from gfkeras.evaluation.metrics import kfold_accuracy, roc
from gfkeras.evaluation.pair_list import AllPairs, PairList
from gfkeras.evaluation.pairs import embed_pairs
from gfkeras.evaluation.similarity import COSINE, Similarity

BETAS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
GAMMAS = (1 / 4, 1 / 3, 1 / 2, 1.0, 2.0)


@dataclass(frozen=True, eq=False)
class TunedSimilarity:
    """The chosen similarity and its results on the development pairs.

    Attributes:
        similarity: the best similarity.
        accuracy, cosine_accuracy: k-fold accuracy of the best and of the plain cosine (β = 0).
        table: (β, γ, accuracy, AUC) of every similarity that was tried.
        pairs: number of development pairs measured.
    """

    similarity: Similarity
    accuracy: float
    cosine_accuracy: float
    table: list[tuple[float, float, float, float]]
    pairs: int

    def to_json(self) -> dict[str, Any]:
        """Returns the result for `json.dump`."""
        return {
            **asdict(self.similarity),
            "accuracy": self.accuracy,
            "cosine_accuracy": self.cosine_accuracy,
            "pairs": self.pairs,
            "table": [list(row) for row in self.table],
        }


def tune_similarity(
    embed: Embed,
    development: PairList,
    measured: PairList | None = None,
    betas: Sequence[float] = BETAS,
    gammas: Sequence[float] = GAMMAS,
    distance: str = "l2",
) -> TunedSimilarity:
    """Tries β and γ on development pairs and returns the best. The measured pairs stay unseen.

    The best similarity has the highest k-fold accuracy. Ties are decided by the highest AUC, then
    by the smallest β. If groups do not help, the plain cosine is chosen.

    Args:
        embed: see `evaluate_pairs`. The model needs groups.
        development: the pairs to choose β and γ on.
        measured: the pairs of the final measurement. None of them may be a development pair.
        betas: values of β to try. 0 is always tried.
        gammas, distance: exponents to try, and D, as in `Similarity`.
    """
    if measured is not None:
        require_disjoint(development, measured)
    embedded = embed_pairs(embed, development)
    plain = Similarity(0.0, GAMMAS[0], distance)
    cosine = embedded.scores(COSINE)
    # Cosines and distances are computed once. Only the penalty depends on β and γ.
    apart = embedded.scores(lambda a, b, group_a, group_b: plain.distances(group_a, group_b))
    tried = [plain] + [
        Similarity(beta, gamma, distance) for beta in betas for gamma in gammas if beta
    ]
    table = []
    for similarity in tried:
        scores = cosine - similarity.penalty(apart)
        accuracy = kfold_accuracy(scores, embedded.pairs.same, embedded.pairs.fold).mean
        auc = roc(scores, embedded.pairs.same).auc
        table.append((similarity.beta, similarity.gamma, accuracy, auc))
    best = max(range(len(tried)), key=lambda i: (table[i][2], table[i][3], -table[i][0]))
    return TunedSimilarity(tried[best], table[best][2], table[0][2], table, len(embedded.pairs))


def require_disjoint(development: PairList, measured: PairList | AllPairs) -> int:
    """Returns the number of people (folders) that both lists share.

    Raises ValueError for a pair that is in both lists, in either order. Shared people are counted
    and not refused: LFW's View 1 is made for development and shares some people with View 2.
    """
    files = set(measured.files())
    # Sets, because the order of a pair's two images does not matter.
    known = set() if isinstance(measured, AllPairs) else {frozenset(p) for p in _pairs(measured)}
    for pair in _pairs(development):
        both = (
            files.issuperset(pair) if isinstance(measured, AllPairs) else frozenset(pair) in known
        )
        if both:
            raise ValueError(
                "`development` must not hold pairs that are measured, because β and γ would be "
                f"chosen by the answer. Received: {pair[0]} with {pair[1]} in both"
            )
    ours, theirs = ({path.parent for path in of} for of in (development.files(), files))
    return len(ours & theirs)


def _pairs(pairs: PairList) -> Iterable[tuple[Path, Path]]:
    return zip(pairs.first, pairs.second, strict=True)
