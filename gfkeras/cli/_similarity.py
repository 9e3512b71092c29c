"""The options of the commands that score faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gfkeras.evaluation import Similarity

GroupAwareOption = Annotated[
    bool, typer.Option("--group-aware", help="Score by the group-aware similarity.")
]
BetaOption = Annotated[
    float | None, typer.Option(help="With --group-aware: weight of the groups' distance (0.1).")
]
GammaOption = Annotated[
    float | None, typer.Option(help="With --group-aware: exponent of the distance (1/3).")
]
DistanceOption = Annotated[str, typer.Option(help="Distance of groups: l2, squared-l2 or cosine.")]


def make_similarity(
    group_aware: bool, beta: float | None, gamma: float | None, distance: str = "l2"
) -> Similarity:
    """The similarity that the options ask for; the cosine without --group-aware.

    Raises:
        ValueError: for β or γ without --group-aware, and values out of range.
    """
    from gfkeras.evaluation.similarity import GROUP_AWARE, Similarity

    if not group_aware:
        for name, value in (("beta", beta), ("gamma", gamma)):
            if value is not None:
                raise ValueError(f"`{name}` needs --group-aware. Received: {name}={value}")
        return Similarity(beta=0.0, distance=distance)
    return Similarity(
        GROUP_AWARE.beta if beta is None else beta,
        GROUP_AWARE.gamma if gamma is None else gamma,
        distance,
    )
