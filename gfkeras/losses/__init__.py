"""Losses on embeddings and group decisions."""

from typing import Any

from gfkeras.errors import by_name
from gfkeras.losses.center import CenterLoss
from gfkeras.losses.contrastive import ContrastiveLoss
from gfkeras.losses.cosine_distillation import CosineDistillationLoss
from gfkeras.losses.embedding_loss import softmax_cross_entropy
from gfkeras.losses.harmonic_triplet import HarmonicTripletLoss
from gfkeras.losses.inter import InterLoss
from gfkeras.losses.intra import IntraLoss
from gfkeras.losses.npairs import NPairsLoss
from gfkeras.losses.pairwise import pairwise_distance
from gfkeras.losses.relational_distillation import RelationalDistillationLoss
from gfkeras.losses.self_grouping import (
    SelfGroupingLoss,
    log_prior_labels,
    naive_labels,
    self_distributed_labels,
)
from gfkeras.losses.triplet import TripletLoss

__all__ = [
    "CenterLoss", "ContrastiveLoss", "CosineDistillationLoss", "HarmonicTripletLoss", "InterLoss",
    "IntraLoss", "NPairsLoss", "RelationalDistillationLoss", "SelfGroupingLoss", "TripletLoss",
    "get", "log_prior_labels", "naive_labels", "pairwise_distance", "self_distributed_labels",
    "softmax_cross_entropy",
]  # fmt: skip

LOSSES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        CenterLoss, ContrastiveLoss, CosineDistillationLoss, HarmonicTripletLoss, InterLoss,
        IntraLoss, NPairsLoss, RelationalDistillationLoss, SelfGroupingLoss, TripletLoss,
    )
}  # fmt: skip


def get(name: str, **arguments: Any) -> Any:
    """Builds the loss called `name`, such as "SelfGroupingLoss".

    Raises:
        ValueError: for an unknown name. The message suggests the nearest known name.
    """
    return by_name("loss", name, LOSSES)(**arguments)
