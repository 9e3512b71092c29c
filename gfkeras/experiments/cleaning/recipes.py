"""The two recipes of a cleaning: sub-centers to find wrong labels, then one center."""

import inspect
from typing import Any

from gfkeras.errors import wrong_value
from gfkeras.heads import ArcFace, SubCenterArcFace
from gfkeras.training import Recipe

SUB_CENTER_HEAD = SubCenterArcFace.__name__
ONE_CENTER_HEAD = ArcFace.__name__


def with_sub_centers(recipe: Recipe, sub_centers: int | None = None) -> Recipe:
    """Returns the recipe with a `SubCenterArcFace` head of the same scale and margin.

    By default K is that of the head, or 3 if the head has none. Raises ValueError for K below 2,
    for a head other than ArcFace or SubCenterArcFace, and for a recipe with stages.
    """
    if recipe.stage:
        raise ValueError(
            "`recipe` must have no [[stage]], because a cleaning trains once. Train it with "
            f"`gfkeras train` and the head {SUB_CENTER_HEAD} in its last stage, then clean that "
            f"run. Received: the stages {', '.join(stage.name for stage in recipe.stage)}"
        )
    arguments = dict(recipe.head.arguments)
    if recipe.head.name not in (SUB_CENTER_HEAD, ONE_CENTER_HEAD):
        raise ValueError(
            f"`recipe` must have the head {SUB_CENTER_HEAD}, or {ONE_CENTER_HEAD}, which is given "
            f"sub-centers. Received: {recipe.head.name}, a head without them"
        )
    if sub_centers is None:
        default = inspect.signature(SubCenterArcFace.__init__).parameters["sub_centers"].default
        sub_centers = arguments.get("sub_centers", default)
    if sub_centers < 2:
        expected = "be at least 2: with one, wrong labels have no center of their own to go to"
        raise wrong_value("sub_centers", expected, sub_centers)
    return _with_head(recipe, SUB_CENTER_HEAD, arguments | {"sub_centers": sub_centers})


def with_one_center(recipe: Recipe) -> Recipe:
    """Returns the recipe with an `ArcFace` head of the same scale and margin, for clean images."""
    # ArcFace does not accept the arguments that only sub-centers have.
    accepted = inspect.signature(ArcFace.__init__).parameters
    kept = {key: value for key, value in recipe.head.arguments.items() if key in accepted}
    return _with_head(recipe, ONE_CENTER_HEAD, kept)


def with_same_updates(recipe: Recipe, images: int, kept: int) -> Recipe:
    """Returns the recipe with more epochs: `kept` images then give as many batches as `images`.

    The epochs of the schedule are stretched in the same way. Otherwise a network would be trained
    on fewer images and also for a shorter time. On small data the shorter time has more effect.
    `training.steps` and milestones in steps stay, because they do not count epochs.
    """
    batch = recipe.training.batch_size
    # Count whole batches, because training drops an incomplete last batch.
    stretch = (images // batch) / max(1, kept // batch)
    tables = recipe.model_dump(exclude_none=True)
    if recipe.training.steps is None:
        tables["training"]["epochs"] = max(1, round(stretch * recipe.training.epochs))
    tables["schedule"]["warmup_epochs"] *= stretch
    if recipe.schedule.milestones and recipe.schedule.unit == "epochs":
        tables["schedule"]["milestones"] = [stretch * e for e in recipe.schedule.milestones]
    return Recipe.parse(tables)


def _with_head(recipe: Recipe, name: str, arguments: dict[str, Any]) -> Recipe:
    tables = recipe.model_dump(exclude_none=True)
    # Write only the arguments that were set, so that `init` still provides the rest.
    tables["head"] = {"name": name, **arguments}
    return Recipe.parse(tables)
