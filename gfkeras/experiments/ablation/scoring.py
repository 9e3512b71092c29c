"""How a trained network is scored: what costs no training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from gfkeras.evaluation import COSINE, Similarity
from gfkeras.evaluation.pair_list import PairList

REPRESENTATIONS = ("both", "instance", "group")


@dataclass(frozen=True)
class Scoring:
    """The options of an evaluation; rows that differ only in these share one training.

    Args:
        mode: "soft" or "hard" in place of the form that was trained; None leaves it.
        representation: what is compared: "both", the embedding v̄; "instance", v alone;
            "group", v^G alone.
        similarity: of two faces: the cosine, or the group-aware similarity.
    """

    mode: str | None = None
    representation: str = "both"
    similarity: Similarity = COSINE

    @property
    def needs_groups(self) -> bool:
        """Whether a network without groups cannot be scored so."""
        return self.mode is not None or self.representation != "both" or self.similarity.group_aware

    def to_json(self) -> dict[str, Any]:
        """All of it, as names and numbers."""
        similarity = self.similarity
        return {
            "mode": self.mode,
            "representation": self.representation,
            "beta": similarity.beta,
            "gamma": similarity.gamma if similarity.group_aware else None,
            "distance": similarity.distance if similarity.group_aware else None,
        }

    def key(self, pairs: str) -> str:
        """What a score is kept under: every option, and `pairs_fingerprint` of what was scored."""
        return " ".join(
            f"{name}={value}" for name, value in {**self.to_json(), "pairs": pairs}.items()
        )


def pairs_fingerprint(pairs: PairList) -> str:
    """Names a list of pairs: people's and files' names, kinds and folds, wherever they lie."""
    digest = hashlib.sha256()
    for first, second, same, fold in zip(
        pairs.first, pairs.second, pairs.same.tolist(), pairs.fold.tolist(), strict=True
    ):
        names = "/".join((*first.parts[-2:], *second.parts[-2:]))
        digest.update(f"{names} {same:d} {fold}\n".encode())
    return digest.hexdigest()[:12]
