"""Losses on embeddings and group decisions."""

from __future__ import annotations

from typing import Any

from gfkeras.errors import by_name
from gfkeras.losses.center import CenterLoss
from gfkeras.losses.group_labels import naive_labels, self_distributed_labels
from gfkeras.losses.inter import InterLoss
from gfkeras.losses.intra import IntraLoss
from gfkeras.losses.self_grouping import SelfGroupingLoss
from gfkeras.losses.softmax import softmax_cross_entropy

__all__ = [
    "CenterLoss",
    "InterLoss",
    "IntraLoss",
    "SelfGroupingLoss",
    "get",
    "naive_labels",
    "self_distributed_labels",
    "softmax_cross_entropy",
]

LOSSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        CenterLoss,
        InterLoss,
        IntraLoss,
        SelfGroupingLoss,
    )
}


def get(name: str, **arguments: Any) -> Any:
    """Builds the loss called `name`, such as "SelfGroupingLoss".

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    return by_name("loss", name, LOSSES)(**arguments)
