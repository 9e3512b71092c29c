"""The two recipes of a cleaning: with sub-centers to find wrong labels, with one center after."""

from __future__ import annotations

import inspect
from typing import Any

from gfkeras.heads import ArcFace, SubCenterArcFace
from gfkeras.training import Recipe

SUB_CENTER_HEAD = SubCenterArcFace.__name__
ONE_CENTER_HEAD = ArcFace.__name__


def with_sub_centers(recipe: Recipe, sub_centers: int | None = None) -> Recipe:
    """The recipe with a `SubCenterArcFace` head of the same scale and margin.

    By default K is what the head says, 3 where it says nothing. ValueError for K below 2, and for a
    head other than ArcFace or SubCenterArcFace, which has no such form.
    """
    arguments = dict(recipe.head.arguments)
    if recipe.head.name not in (SUB_CENTER_HEAD, ONE_CENTER_HEAD):
        raise ValueError(
            f"`recipe` must have the head {SUB_CENTER_HEAD}, or {ONE_CENTER_HEAD}, which is given "
            f"sub-centers. Received: {recipe.head.name}, a head without them"
        )
    if sub_centers is None:
        default = inspect.signature(SubCenterArcFace.__init__).parameters["sub_centers"].default
        sub_centers = arguments.get("sub_centers", default)
    check_sub_centers(sub_centers)
    return _with_head(recipe, SUB_CENTER_HEAD, arguments | {"sub_centers": sub_centers})


def with_one_center(recipe: Recipe) -> Recipe:
    """The recipe with an `ArcFace` head of the same scale and margin, to train on clean images."""
    accepted = inspect.signature(ArcFace.__init__).parameters
    kept = {key: value for key, value in recipe.head.arguments.items() if key in accepted}
    return _with_head(recipe, ONE_CENTER_HEAD, kept)


def with_same_updates(recipe: Recipe, images: int, kept: int) -> Recipe:
    """The recipe with so many epochs of `kept` images as make the batches of all `images`.

    The schedule's epochs are stretched alike. Without this a network would be trained on fewer
    images and for a shorter time at once, and small data shows the second more than the first.
    """
    batch = recipe.training.batch_size
    stretch = (images // batch) / max(1, kept // batch)
    tables = recipe.model_dump(exclude_none=True)
    tables["training"]["epochs"] = max(1, round(stretch * recipe.training.epochs))
    tables["schedule"]["warmup_epochs"] *= stretch
    if recipe.schedule.milestones:
        tables["schedule"]["milestones"] = [stretch * e for e in recipe.schedule.milestones]
    return Recipe.parse(tables)


def check_sub_centers(sub_centers: int) -> None:
    """Raises ValueError for K = 1, where all images of an identity share the only center."""
    if sub_centers < 2:
        raise ValueError(
            "`sub_centers` must be at least 2: with one, wrong labels have no center of their own "
            f"to go to. Received: sub_centers={sub_centers}"
        )


def _with_head(recipe: Recipe, name: str, arguments: dict[str, Any]) -> Recipe:
    tables = recipe.model_dump(exclude_none=True)
    # Only what was set, so that `init` keeps bringing the rest.
    tables["head"] = {"name": name, **arguments}
    return Recipe.parse(tables)
