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
from gfkeras.evaluation.pair_list import AllPairs, PairList
from gfkeras.heads import HEADS
from gfkeras.losses import LOSSES
from gfkeras.models import GroupFace
from gfkeras.training import Recipe

REPRESENTATIONS = ("both", "instance", "group")


@dataclass(frozen=True)
class Scoring:
    """The options of an evaluation. Rows that differ only in these share one training.

    Args:
        mode: "soft" or "hard" instead of the trained form. None keeps the trained form.
        representation: the vector to compare: "both" is the embedding v̄, "instance" is v alone,
            "group" is v^G alone.
        similarity: the cosine or the group-aware similarity.
    """

    mode: str | None = None
    representation: str = "both"
    similarity: Similarity = COSINE

    @property
    def needs_groups(self) -> bool:
        """Whether this scoring needs a model with groups."""
        return self.mode is not None or self.representation != "both" or self.similarity.group_aware

    def to_json(self) -> dict[str, Any]:
        """Returns every option, as names and numbers."""
        options = asdict(self)
        similarity = options.pop("similarity")
        if not self.similarity.group_aware:
            similarity |= {"gamma": None, "distance": None}
        return options | similarity

    def key(self, pairs: str) -> str:
        """Returns the key of a score: every option, and the `pairs_fingerprint` of its pairs."""
        options = {**self.to_json(), "pairs": pairs}
        return " ".join(f"{name}={value}" for name, value in options.items())


def pairs_fingerprint(pairs: PairList | AllPairs) -> str:
    """Returns a hash of people, file names, kinds and folds. The folder does not matter."""
    digest = hashlib.sha256()
    if isinstance(pairs, AllPairs):
        for path, person in zip(pairs.files(), pairs.person.tolist(), strict=True):
            digest.update(f"{'/'.join(path.parts[-2:])} {person}\n".encode())
        return digest.hexdigest()[:12]
    for first, second, same, fold in zip(
        pairs.first, pairs.second, pairs.same.tolist(), pairs.fold.tolist(), strict=True
    ):
        # Person and file name only: moving the data must not invalidate the scores.
        names = "/".join((*first.parts[-2:], *second.parts[-2:]))
        digest.update(f"{names} {same:d} {fold}\n".encode())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Row:
    """One line of the table: what is trained, and how it is scored.

    `number` counts from 1. `section` is the heading of a part of the table, or "". The seed of
    `recipe` is ignored.
    """

    number: int
    name: str
    section: str
    recipe: Recipe
    scoring: Scoring

    def training(self, data: str) -> str:
        """Returns a hash of recipe and data. Equal recipes on equal data give equal hashes.

        The seed does not count. A default that is written out counts like one that is left out.
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
    """Returns a table of name and arguments, completed with the defaults of the named class."""
    # An unknown name stays as it is. The recipe reports it when it is used.
    found = known.get(section["name"])
    return {**({} if found is None else _defaults(found)), **section}


def _defaults(cls: type) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    # Leave `name` out: it would replace the class name in the section.
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "name"}
