"""Axes of a grid: the keywords that change a recipe or its scoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gfkeras import losses
from gfkeras.errors import one_of, positive_int, unknown_name
from gfkeras.evaluation import COSINE, GROUP_AWARE, Similarity
from gfkeras.experiments.ablation.row import REPRESENTATIONS, Scoring
from gfkeras.layers.group_ensemble import MODES
from gfkeras.models.groupface import COMBINES
from gfkeras.training import Recipe
from gfkeras.training.recipe import apply_setting, copied

_LABELS = ("none", "naive", "self-distributed", "log-prior")
_TRAINED = {
    "soft": {"mode": "soft"},
    "hard": {"mode": "hard", "hard_gradient": "stopped"},
    "straight-through": {"mode": "hard", "hard_gradient": "straight-through"},
    "soft-to-hard": {"mode": "soft"},
}
_GROUPING = losses.SelfGroupingLoss.__name__


@dataclass
class Draft:
    """A row while its changes are applied."""

    # The recipe as nested tables.
    recipe: dict[str, Any]
    # Arguments of `Scoring` except `similarity`, and arguments of `Similarity`.
    scoring: dict[str, Any] = field(default_factory=dict)

    def finished(self) -> tuple[Recipe, Scoring]:
        """Returns recipe and scoring. Raises ValueError if groups are missing."""
        recipe = Recipe.parse(self.recipe)
        arguments = dict(self.scoring)
        given = {
            name: arguments.pop(name) for name in ("beta", "gamma", "distance") if name in arguments
        }
        # γ or D alone would have no effect on the cosine, so they select the group-aware form.
        similarity = Similarity(**{"beta": GROUP_AWARE.beta, **given}) if given else COSINE
        scoring = Scoring(**arguments, similarity=similarity)
        if scoring.needs_groups and recipe.model.name != "GroupFace":
            raise ValueError(f"a network without groups cannot be scored by {scoring.to_json()}")
        return recipe, scoring


def apply(draft: Draft, changes: Mapping[str, Any]) -> None:
    """Applies keywords and dotted recipe keys in a fixed order. The dotted keys come last."""
    settings = _flattened(changes)
    # Check all names first, so that a typing error is reported before any other error.
    for word in settings:
        check_word(word)
    for word, change in AXES.items():
        if word in settings:
            change(draft, settings[word])
    for key, value in settings.items():
        if key not in AXES:
            # As with --set, stages with the key get the value too.
            apply_setting(draft.recipe, key, copied(value))


def check_word(word: str) -> None:
    """Raises ValueError, with the nearest known name, for an unknown keyword or recipe key."""
    if word not in AXES and word.partition(".")[0] not in Recipe.model_fields:
        raise unknown_name("axis", word, [*AXES, *Recipe.model_fields])


def _flattened(changes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Joins nested tables: TOML reads `training.epochs = 3` as a table in a table."""
    found: dict[str, Any] = {}
    for key, value in changes.items():
        name = prefix + key
        # A keyword such as `head` takes a table as its value, so leave that table whole.
        if isinstance(value, Mapping) and name not in AXES:
            found |= _flattened(value, f"{name}.")
        else:
            found[name] = value
    return found


def _groups(draft: Draft, value: Any) -> None:
    """Sets K. "none" takes the backbone alone, and removes everything that belongs to groups."""
    model = draft.recipe.setdefault("model", {})
    if value != "none":
        model.update(name="GroupFace", num_groups=positive_int("groups", value))
        return
    # A Backbone accepts only these keys. Keys of GroupFace would be errors.
    kept = ("init", "freeze", "embedding_dim", "backbone")
    draft.recipe["model"] = {"name": "Backbone", **{k: model[k] for k in kept if k in model}}
    _set_losses(draft, lambda loss: "group_logits" not in loss.inputs)
    # Factors for layers that no longer exist would be errors, too.
    factors = draft.recipe.get("optimizer", {}).get("learning_rate_factors", {})
    for layers in [name for name in factors if name.startswith(("group_", "shared_"))]:
        del factors[layers]


def _labels(draft: Draft, value: Any) -> None:
    """Sets the labels of the self-grouping loss. "none" removes the loss."""
    one_of("labels", value, _LABELS)
    _need_groups(draft, "labels", value)
    if value == "none":
        _set_losses(draft, lambda loss: loss is not losses.SelfGroupingLoss)
        return
    found = [loss for loss in draft.recipe.get("loss", []) if loss.get("name") == _GROUPING]
    # Labels need their loss, so add it to a recipe that lacks it.
    if not found:
        found = [{"name": _GROUPING}]
        draft.recipe.setdefault("loss", []).extend(found)
    found[0]["labeling"] = value


def _mode(draft: Draft, value: Any) -> None:
    """Sets the form of the groups in training and, for "soft-to-hard", in scoring."""
    one_of("mode", value, _TRAINED)
    _need_groups(draft, "mode", value)
    model = draft.recipe["model"]
    # Remove the gradient of an earlier mode, which does not fit every other mode.
    model.pop("hard_gradient", None)
    model.update(_TRAINED[value])
    draft.scoring.pop("mode", None)
    if value == "soft-to-hard":
        draft.scoring["mode"] = "hard"


def _combine(draft: Draft, value: Any) -> None:
    one_of("combine", value, COMBINES)
    _need_groups(draft, "combine", value)
    draft.recipe["model"]["combine"] = value


def _teacher(draft: Draft, value: Any) -> None:
    """Sets the teacher, a model folder. "none" removes the teacher and its losses."""
    if value != "none":
        draft.recipe["teacher"] = {"model": value}
        return
    draft.recipe.pop("teacher", None)
    _set_losses(draft, lambda loss: "teacher_embedding" not in loss.inputs)


def _named(word: str, *place: str) -> Callable[[Draft, Any], None]:
    """Sets a class by name, with its own defaults. A table gives or changes arguments."""

    def change(draft: Draft, value: Any) -> None:
        table = draft.recipe
        for part in place[:-1]:
            table = table.setdefault(part, {})
        if not isinstance(value, (str, Mapping)):
            raise ValueError(
                f"`{word}` must be a name, or a table of name and arguments. Received: {value!r}"
            )
        given = {"name": value} if isinstance(value, str) else copied(value)
        before = table.get(place[-1], {})
        # Arguments of another class would be wrong here, so keep them only for the same class.
        same = given.get("name", before.get("name")) == before.get("name")
        table[place[-1]] = {**before, **given} if same else given

    return change


def _scoring(word: str, check: Callable[[Any], Any]) -> Callable[[Draft, Any], None]:
    def change(draft: Draft, value: Any) -> None:
        check(value)
        draft.scoring[word] = value

    return change


def _similarity(draft: Draft, value: Any) -> None:
    """Sets the cosine, or the group-aware similarity with the paper's β and γ."""
    one_of("similarity", value, ("cosine", "group-aware"))
    for word in ("beta", "gamma", "distance"):
        draft.scoring.pop(word, None)
    if value == "group-aware":
        draft.scoring["beta"] = GROUP_AWARE.beta


def _need_groups(draft: Draft, word: str, value: Any) -> None:
    if draft.recipe.get("model", {}).get("name") == "Backbone":
        raise ValueError(f"`{word}` needs groups. Received: {word}={value!r} without groups")


def _set_losses(draft: Draft, keep: Callable[[Any], bool]) -> None:
    # Keep entries with an unknown name. The recipe's own check then names them.
    draft.recipe["loss"] = [
        loss for loss in draft.recipe.get("loss", [])
        if loss.get("name") not in losses.LOSSES or keep(losses.LOSSES[loss["name"]])
    ]  # fmt: skip


# The keywords are applied in this order: `groups` decides what the later ones may change.
AXES: dict[str, Callable[[Draft, Any], None]] = {
    "backbone": _named("backbone", "model", "backbone"),
    "head": _named("head", "head"),
    "teacher": _teacher,
    "groups": _groups,
    "labels": _labels,
    "mode": _mode,
    "combine": _combine,
    "score_mode": _scoring("mode", lambda value: one_of("score_mode", value, MODES)),
    "representation": _scoring(
        "representation", lambda value: one_of("representation", value, REPRESENTATIONS)
    ),
    "similarity": _similarity,
    "beta": _scoring("beta", lambda value: Similarity(beta=value)),
    "gamma": _scoring("gamma", lambda value: Similarity(gamma=value)),
    "distance": _scoring("distance", lambda value: Similarity(distance=value)),
}
