"""A row of an ablation."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gfkeras.backbones import BACKBONES
from gfkeras.experiments.ablation.scoring import Scoring
from gfkeras.heads import HEADS
from gfkeras.losses import LOSSES
from gfkeras.models import GroupFace
from gfkeras.training import Recipe


@dataclass(frozen=True)
class Row:
    """One line of the table: what is trained, and how it is scored.

    Attributes:
        number: counted from 1.
        name: as the table calls it; no two are alike.
        section: heading of the part of the table it belongs to, or "".
        recipe: whose seed says nothing.
        scoring: options that need no training.
    """

    number: int
    name: str
    section: str
    recipe: Recipe
    scoring: Scoring

    def training(self, data: str) -> str:
        """Names the training: equal for equal recipes, seeds aside, on equal data.

        A default that is written out is the same as one that is left out.

        Args:
            data: fingerprint of what is trained on.
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
