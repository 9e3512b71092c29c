"""β and γ of the group-aware similarity, chosen on development pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gfkeras.evaluation.embedded import Embed
from gfkeras.evaluation.metrics import kfold_accuracy, roc
from gfkeras.evaluation.pair_list import PairList
from gfkeras.evaluation.pairs import embed_pairs
from gfkeras.evaluation.similarity import COSINE, Similarity

BETAS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
GAMMAS = (1 / 4, 1 / 3, 1 / 2, 1.0, 2.0)


@dataclass(frozen=True, eq=False)
class TunedSimilarity:
    """The chosen similarity and its results on the development pairs.

    Attributes:
        similarity: the best of those tried.
        accuracy, cosine_accuracy: its k-fold accuracy, and that of the plain cosine, β = 0.
        table: (β, γ, accuracy, AUC) of everything tried.
        pairs: how many development pairs were measured.
    """

    similarity: Similarity
    accuracy: float
    cosine_accuracy: float
    table: list[tuple[float, float, float, float]]
    pairs: int

    def to_json(self) -> dict[str, Any]:
        """For `json.dump`."""
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
    """Tries β and γ on development pairs; the measured ones are never looked at.

    The best is that of the highest k-fold accuracy, of equal ones that of the highest AUC, and of
    those the smallest β: where groups do not help, the plain cosine is chosen.

    Args:
        embed: as of `evaluate_pairs`, of a network with groups.
        development: the pairs to choose by.
        measured: the pairs that will be measured, none of which may be among them.
        betas: with or without 0, which is always tried.
        gammas, distance: exponents, and D, as of `Similarity`.
    """
    if measured is not None:
        require_disjoint(development, measured)
    embedded = embed_pairs(embed, development)
    plain = Similarity(0.0, GAMMAS[0], distance)
    cosine = embedded.scores(COSINE)
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


def require_disjoint(development: PairList, measured: PairList) -> int:
    """The number of people (folders) in both lists; ValueError for a pair in both, in either order.

    Shared people are told, not refused: LFW's View 1, made to develop on, shares some with View 2.
    """
    known = {frozenset(pair) for pair in _pairs(measured)}
    for pair in _pairs(development):
        if frozenset(pair) in known:
            raise ValueError(
                "`development` must not hold pairs that are measured: β and γ would be chosen "
                f"by the answer. Received: {pair[0]} with {pair[1]} in both"
            )
    ours, theirs = ({path.parent for path in pairs.files()} for pairs in (development, measured))
    return len(ours & theirs)


def _pairs(pairs: PairList) -> Any:
    return zip(pairs.first, pairs.second, strict=True)
