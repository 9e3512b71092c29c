"""Checks of the names of classes and arguments in a recipe."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from gfkeras import backbones, heads, losses
from gfkeras.data.augmentation.catalog import AUGMENTATIONS, make_layer
from gfkeras.errors import nearest, unknown_name
from gfkeras.training import recipe_sections as sections

# Name of [head] for training without a head, only with losses on the embedding.
NO_HEAD = "none"


def check_names(
    model: sections.ModelSection,
    head: sections.NamedSection,
    extra_losses: Sequence[sections.NamedSection],
    teacher: sections.TeacherSection | None,
    optimizer: sections.OptimizerSection,
    augmentation: Sequence[sections.NamedSection],
) -> None:
    """Raises ValueError for a class or an argument that does not exist.

    The message suggests a similar name. Losses without their inputs, such as groups, and values
    that a layer of [[augmentation]] refuses are errors too.
    """
    for index, section in enumerate(augmentation):
        _check_augmentation(f"augmentation.{index}", section)
    _check("model.backbone", "backbone", model.backbone, backbones.BACKBONES)
    if head.name != NO_HEAD:
        _check("head", "head", head, heads.HEADS)
        if head.name == heads.PartialFC.__name__:
            _check_partial_fc(head, extra_losses, optimizer)
    elif head.arguments:
        raise ValueError(
            f'`head` "{NO_HEAD}" takes no arguments. Received: {sorted(head.arguments)}'
        )
    elif not extra_losses:
        raise ValueError(f'`head` "{NO_HEAD}" needs a [[loss]] to train with. Received: none')
    no_teacher = "needs a [teacher] with the `model` to learn from"
    needs = {
        "group_logits": (
            model.name == "GroupFace",
            f'needs groups: expected model.name = "GroupFace", not "{model.name}"',
        ),
        "centers": (head.name != NO_HEAD, "needs the centers of a [head]"),
        "teacher_embedding": (teacher is not None, no_teacher),
    }
    for index, section in enumerate(extra_losses):
        _check(f"loss.{index}", "loss", section, losses.LOSSES)
        for key in losses.LOSSES[section.name].inputs:
            given, hint = needs.get(key, (True, ""))
            if not given:
                raise ValueError(f"`loss` {section.name} {hint}")
    names = [section.name for section in extra_losses]
    if len(names) > len(set(names)):
        raise ValueError(f"`loss` must name each loss once. Received: {names}")
    taught = any("teacher_embedding" in losses.LOSSES[name].inputs for name in names)
    if teacher is not None and not taught:
        raise ValueError(
            "[teacher] is given, but no [[loss]] learns from it: expected "
            "CosineDistillationLoss, RelationalDistillationLoss or HarmonicTripletLoss. "
            f"Received: {names}"
        )


def _check(place: str, kind: str, section: sections.NamedSection, known: Mapping[str, Any]) -> None:
    if section.name not in known:
        raise unknown_name(kind, section.name, known)
    # The data or [model] set these arguments, so the table must not.
    reserved = {"self", "num_classes", "embedding_dim", "name", "batch_size"}
    parameters = inspect.signature(known[section.name].__init__).parameters.values()
    accepted = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    _check_keys(place, section, accepted - reserved)


def _check_partial_fc(
    head: sections.NamedSection,
    extra_losses: Sequence[sections.NamedSection],
    optimizer: sections.OptimizerSection,
) -> None:
    # Building the head checks the names and values of its arguments and of the head inside it.
    heads.PartialFC(num_classes=2, **head.arguments)
    for section in extra_losses:
        loss = losses.LOSSES.get(section.name)
        if loss is not None and "centers" in loss.inputs:
            raise ValueError(
                f"`loss` {section.name} takes all centers, but PartialFC has only a sample: "
                "expected another head or another loss"
            )
    if optimizer.accumulate_steps > 1:
        raise ValueError(
            "`optimizer.accumulate_steps` must be 1 with the head PartialFC, because each step "
            f"draws other centers. Received: {optimizer.accumulate_steps}"
        )


def _check_keys(place: str, section: sections.NamedSection, accepted: Iterable[str]) -> None:
    accepted = sorted(accepted)
    for argument in section.arguments:
        if argument not in accepted:
            guess = nearest(argument, accepted)
            hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(accepted)}."
            raise ValueError(f"Unknown key {argument!r} in [{place}] for {section.name}; {hint}")


def _check_augmentation(place: str, section: sections.NamedSection) -> None:
    if section.name not in AUGMENTATIONS:
        raise unknown_name("augmentation", section.name, AUGMENTATIONS)
    _check_keys(place, section, AUGMENTATIONS[section.name].arguments)
    try:
        # Inside the scope, variables get no values. Creating values would initialise the devices,
        # which the caller could then no longer configure.
        with keras.StatelessScope(initialize_variables=False):
            make_layer(section.name, section.arguments)
    except ValueError as error:
        raise ValueError(f"`{place}`: {error}") from None
