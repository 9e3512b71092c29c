"""Preparation of a model for export by exact rewrites."""

from gfkeras.export.preparation.channel_folding import (
    fold_channels,
    open_batch_norms,
    open_input_normalization,
)
from gfkeras.export.preparation.flattening import flattened
from gfkeras.export.preparation.network import Network, Node, NotRewritable, network_of
from gfkeras.export.preparation.preparing import DENSE_STEPS, INTEGER_STEPS, STEPS, prepare
from gfkeras.export.preparation.rewrites import (
    drop_training_layers,
    fix_flattening,
    flush_denormals,
    pointwise_as_dense,
    rewrite_prelus,
)

__all__ = [
    "DENSE_STEPS",
    "INTEGER_STEPS",
    "STEPS",
    "Network",
    "Node",
    "NotRewritable",
    "drop_training_layers",
    "fix_flattening",
    "flattened",
    "flush_denormals",
    "fold_channels",
    "network_of",
    "open_batch_norms",
    "open_input_normalization",
    "pointwise_as_dense",
    "prepare",
    "rewrite_prelus",
]
