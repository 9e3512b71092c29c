"""From the sections of a recipe to Keras objects."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from gfkeras import backbones, heads, losses
from gfkeras.data.augmentation import Augmentation
from gfkeras.data.augmentation.catalog import AUGMENTATIONS, make_layer
from gfkeras.errors import nearest, unknown_name
from gfkeras.models import FaceClassifier, GroupFace, synchronize_batch_norm
from gfkeras.saving import load_model
from gfkeras.training.optimizers import OPTIMIZERS
from gfkeras.training.recipe import Recipe
from gfkeras.training.recipe_sections import NamedSection
from gfkeras.training.schedules import Warmup
from gfkeras.training.starting import freeze, initial_model, rate_factors

# The name of [head] for training with losses on the embedding alone.
NO_HEAD = "none"


def check_names(recipe: Recipe) -> None:
    """Raises ValueError for a class or an argument that does not exist, naming the nearest.

    Losses that need what the recipe does not have, such as groups, are named too, and
    values that a layer of [[augmentation]] refuses.
    """
    for index, section in enumerate(recipe.augmentation):
        _check_augmentation(f"augmentation.{index}", section)
    _check("model.backbone", "backbone", recipe.model.backbone, backbones.BACKBONES)
    if recipe.head.name != NO_HEAD:
        _check("head", "head", recipe.head, heads.HEADS)
        _check_partial_fc(recipe)
    elif recipe.head.arguments:
        raise ValueError(
            f'`head` "{NO_HEAD}" takes no arguments. Received: {sorted(recipe.head.arguments)}'
        )
    elif not recipe.loss:
        raise ValueError(f'`head` "{NO_HEAD}" needs a [[loss]] to train with. Received: none')
    for index, section in enumerate(recipe.loss):
        _check(f"loss.{index}", "loss", section, losses.LOSSES)
        inputs = losses.LOSSES[section.name].inputs
        missing = [
            hint
            for key, given, hint in (
                (
                    "group_logits",
                    recipe.model.name == "GroupFace",
                    f'needs groups: expected model.name = "GroupFace", not "{recipe.model.name}"',
                ),
                ("centers", recipe.head.name != NO_HEAD, "needs the centers of a [head]"),
                (
                    "teacher_embedding",
                    recipe.teacher is not None,
                    "needs a [teacher] with the `model` to learn from",
                ),
            )
            if key in inputs and not given
        ]
        if missing:
            raise ValueError(f"`loss` {section.name} {missing[0]}")
    names = [section.name for section in recipe.loss]
    if len(names) > len(set(names)):
        raise ValueError(f"`loss` must name each loss once. Received: {names}")
    taught = any("teacher_embedding" in losses.LOSSES[name].inputs for name in names)
    if recipe.teacher is not None and not taught:
        raise ValueError(
            "[teacher] is given, but no [[loss]] learns from it: expected "
            "CosineDistillationLoss, RelationalDistillationLoss or HarmonicTripletLoss. "
            f"Received: {names}"
        )


def _check(place: str, kind: str, section: NamedSection, known: Mapping[str, Any]) -> None:
    if section.name not in known:
        raise unknown_name(kind, section.name, known)
    # Set by the data or by [model], not by this table.
    reserved = {"self", "num_classes", "embedding_dim", "name", "batch_size"}
    parameters = inspect.signature(known[section.name].__init__).parameters.values()
    accepted = [
        p.name for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in reserved
    ]
    _check_keys(place, section, accepted)


def _check_partial_fc(recipe: Recipe) -> None:
    if recipe.head.name != heads.PartialFC.__name__:
        return
    # Checks the head inside and its arguments, by names and by values.
    heads.PartialFC(num_classes=2, **recipe.head.arguments)
    for section in recipe.loss:
        loss = losses.LOSSES.get(section.name)
        if loss is not None and "centers" in loss.inputs:
            raise ValueError(
                f"`loss` {section.name} takes all centers, of which PartialFC has a sample: "
                "expected another head or another loss"
            )
    if recipe.optimizer.accumulate_steps > 1:
        raise ValueError(
            "`optimizer.accumulate_steps` must be 1 with the head PartialFC, each step of which "
            f"draws other centers. Received: {recipe.optimizer.accumulate_steps}"
        )


def _check_keys(place: str, section: NamedSection, accepted: Iterable[str]) -> None:
    accepted = sorted(accepted)
    for argument in section.arguments:
        if argument not in accepted:
            guess = nearest(argument, accepted)
            hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(accepted)}."
            raise ValueError(f"Unknown key {argument!r} in [{place}] for {section.name}; {hint}")


def _check_augmentation(place: str, section: NamedSection) -> None:
    if section.name not in AUGMENTATIONS:
        raise unknown_name("augmentation", section.name, AUGMENTATIONS)
    _check_keys(place, section, AUGMENTATIONS[section.name].arguments)
    try:
        # Within the scope variables get no values: reading a recipe must not be what claims
        # the devices, which a caller may still want to configure.
        with keras.StatelessScope(initialize_variables=False):
            make_layer(section.name, section.arguments)
    except ValueError as error:
        raise ValueError(f"`{place}`: {error}") from None


def build_model(recipe: Recipe) -> keras.Model:
    """The GroupFace or the plain backbone that the recipe describes: untrained, or as `init` is."""
    section = recipe.model
    if section.init is not None:
        return initial_model(section)
    arguments = section.backbone.arguments
    if section.name == "Backbone":
        return backbones.get(
            section.backbone.name, embedding_dim=section.embedding_dim, **arguments
        )
    return GroupFace(
        backbones.get(section.backbone.name, **arguments),
        embedding_dim=section.embedding_dim,
        **section.group_arguments,
    )


def build_classifier(recipe: Recipe, num_classes: int, steps_per_epoch: int) -> FaceClassifier:
    """Model, head and losses, compiled.

    Args:
        recipe: what to build.
        num_classes: identities in the training data.
        steps_per_epoch: batches an epoch, which the schedule counts in.
    """
    model = build_model(recipe)
    freeze(model, recipe.model.freeze)
    head = None
    if recipe.head.name != NO_HEAD:
        head = build_head(recipe, num_classes)
    extra_losses = [build_loss(section, num_classes) for section in recipe.loss]
    teacher = None if recipe.teacher is None else load_model(Path(recipe.teacher.model))
    classifier = FaceClassifier(model, head, extra_losses, teacher)
    synchronize_batch_norm(classifier, recipe.training.synchronized_batch_norm)
    classifier.compile(
        optimizer=build_optimizer(recipe, steps_per_epoch),
        skip_nonfinite=recipe.training.nonfinite == "skip",
        jit_compile=_jit_compile(recipe.training.jit_compile),
    )
    if recipe.optimizer.learning_rate_factors:
        optimizer: Any = classifier.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        optimizer.set_rate_factors(rate_factors(classifier, recipe.optimizer.learning_rate_factors))
    return classifier


def build_head(recipe: Recipe, num_classes: int) -> heads.MarginHead:
    """The head, with the batch size where it has to hold a batch's identities."""
    arguments = dict(recipe.head.arguments)
    if "batch_size" in inspect.signature(heads.HEADS[recipe.head.name].__init__).parameters:
        arguments["batch_size"] = recipe.training.batch_size
    return heads.get(recipe.head.name, num_classes=num_classes, **arguments)


def build_loss(section: NamedSection, num_classes: int) -> Any:
    """A loss of `gfkeras.losses`, with the number of classes where it has centers of its own."""
    arguments = dict(section.arguments)
    if "num_classes" in inspect.signature(losses.LOSSES[section.name].__init__).parameters:
        arguments["num_classes"] = num_classes
    return losses.get(section.name, **arguments)


def build_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer with its learning-rate schedule."""
    section = recipe.optimizer
    arguments: dict[str, Any] = {
        # Adam's first moment plays the part of momentum.
        "momentum" if section.name == "SGD" else "beta_1": section.momentum,
        "learning_rate": build_schedule(recipe, steps_per_epoch),
        "weight_decay": section.weight_decay,
        "weight_decay_mode": section.weight_decay_mode,
        "decay_norm_and_bias": section.decay_norm_and_bias,
        "clipnorm": section.clipnorm,
        "global_clipnorm": section.global_clipnorm,
        "clipvalue": section.clipvalue,
    }
    if section.accumulate_steps > 1:
        arguments["gradient_accumulation_steps"] = section.accumulate_steps
    return OPTIMIZERS[section.name](**arguments)


def build_schedule(
    recipe: Recipe, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate at each step."""
    section, rate = recipe.schedule, recipe.optimizer.learning_rate
    if section.name == "cosine":
        schedule: Any = keras.optimizers.schedules.CosineDecay(
            rate, decay_steps=recipe.training.epochs * steps_per_epoch
        )
    elif section.name == "polynomial":
        schedule = keras.optimizers.schedules.PolynomialDecay(
            rate,
            decay_steps=recipe.training.epochs * steps_per_epoch,
            end_learning_rate=rate * section.final_factor,
            power=section.power,
        )
    elif section.name == "step":
        boundaries = [round(epoch * steps_per_epoch) for epoch in section.milestones]
        values = [rate * section.factor**i for i in range(len(boundaries) + 1)]
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    else:
        schedule = rate
    return Warmup(schedule, round(section.warmup_epochs * steps_per_epoch))


def build_augmentation(recipe: Recipe) -> Augmentation | None:
    """What [data] and [[augmentation]] do to images; None where they do nothing."""
    augmentation = Augmentation(
        flip=recipe.data.flip,
        shift=recipe.data.shift,
        layers=[{"name": section.name, **section.arguments} for section in recipe.augmentation],
    )
    return augmentation if augmentation.draws or augmentation.has_layers else None


def _jit_compile(setting: bool | str) -> bool | str:
    if setting != "auto" or keras.backend.backend() != "tensorflow":
        return setting
    import tensorflow as tf

    # XLA over the whole step is several times slower than TensorFlow's own kernels on CPU.
    return "auto" if tf.config.list_physical_devices("GPU") else False


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Sets the global dtype policy, and puts back what it was before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
