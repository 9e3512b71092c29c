"""Former names of `options`."""

from gfkeras.cli.options import (
    BetaOption,
    DistanceOption,
    GammaOption,
    GroupAwareOption,
    make_similarity,
)

__all__ = ["BetaOption", "DistanceOption", "GammaOption", "GroupAwareOption", "make_similarity"]
