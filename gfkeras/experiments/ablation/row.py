"""Rows of an ablation: a recipe and its scoring."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gfkeras.backbones import BACKBONES
from gfkeras.evaluation import COSINE, Similarity
from gfkeras.evaluation.pair_list import PairList
from gfkeras.heads import HEADS
from gfkeras.losses import LOSSES
from gfkeras.models import GroupFace
from gfkeras.training import Recipe

REPRESENTATIONS = ("both", "instance", "group")


@dataclass(frozen=True)
class Scoring:
    """The options of an evaluation; rows that differ only in these share one training.

    Args:
        mode: "soft" or "hard" in place of the form that was trained; None leaves it.
        representation: what is compared: "both", the embedding v̄; "instance", v alone; "group",
            v^G alone.
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
        """Every option, as names and numbers."""
        options = asdict(self)
        similarity = options.pop("similarity")
        if not self.similarity.group_aware:
            similarity |= {"gamma": None, "distance": None}
        return options | similarity

    def key(self, pairs: str) -> str:
        """The key of a score: every option, and `pairs_fingerprint` of the pairs scored."""
        options = {**self.to_json(), "pairs": pairs}
        return " ".join(f"{name}={value}" for name, value in options.items())


def pairs_fingerprint(pairs: PairList) -> str:
    """Names a list of pairs: people's and files' names, kinds and folds, wherever they lie."""
    digest = hashlib.sha256()
    for first, second, same, fold in zip(
        pairs.first, pairs.second, pairs.same.tolist(), pairs.fold.tolist(), strict=True
    ):
        names = "/".join((*first.parts[-2:], *second.parts[-2:]))
        digest.update(f"{names} {same:d} {fold}\n".encode())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Row:
    """One line of the table: what is trained, and how it is scored.

    `number` counts from 1, `section` heads a part of the table or is "", and the seed of `recipe`
    says nothing.
    """

    number: int
    name: str
    section: str
    recipe: Recipe
    scoring: Scoring

    def training(self, data: str) -> str:
        """Names the training: equal for equal recipes, seeds aside, on data of one fingerprint.

        A default that is written out is the same as one that is left out.
        """
        tables = self.recipe.model_dump(exclude={"seed"})
        model = tables["model"]
        if "backbone" in model:
            model["backbone"] = _complete(model["backbone"], BACKBONES)
        if model["name"] == GroupFace.__name__ and model["init"] is None:
            model |= _defaults(GroupFace) | {k: v for k, v in model.items() if v is not None}
        tables["head"] = _complete(tables["head"], HEADS)
        tables["loss"] = [_complete(loss, LOSSES) for loss in tables["loss"]]
        text = json.dumps([tables, data], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _complete(section: Mapping[str, Any], known: Mapping[str, type]) -> dict[str, Any]:
    """A table of a name and arguments, with the defaults of the class of that name."""
    found = known.get(section["name"])
    return {**({} if found is None else _defaults(found)), **section}


def _defaults(cls: type) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    # `name` would hide that of the section.
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "name"}
