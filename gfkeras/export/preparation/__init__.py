"""Preparation of a model for export: rewrites that keep its outputs and save computation."""

from gfkeras.export.preparation.flattening import flattened
from gfkeras.export.preparation.network import NotRewritable
from gfkeras.export.preparation.preparing import DENSE_STEPS, INTEGER_STEPS, STEPS, prepare

__all__ = ["DENSE_STEPS", "INTEGER_STEPS", "STEPS", "NotRewritable", "flattened", "prepare"]
