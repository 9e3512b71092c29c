"""Keras objects built from the sections of a recipe."""

import contextlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from gfkeras import backbones, heads, losses
from gfkeras.data.augmentation import Augmentation
from gfkeras.models import FaceClassifier, GroupFace
from gfkeras.saving import load_model
from gfkeras.training import recipe_sections as sections
from gfkeras.training.optimizers import OPTIMIZERS
from gfkeras.training.recipe import Recipe
from gfkeras.training.recipe_names import NO_HEAD
from gfkeras.training.schedules import build_schedule
from gfkeras.training.starting import Start, freeze, initial_model, rate_factors


def build_model(section: sections.ModelSection, starts: list[Start] | None = None) -> keras.Model:
    """Builds the GroupFace or the plain backbone of [model], with the weights of `init`.

    With `init`, the layers that it gave are added to `starts`.
    """
    if section.init is not None:
        model, start = initial_model(section)
        if starts is not None:
            starts.append(start)
        return model
    width = {"embedding_dim": section.embedding_dim} if section.name == "Backbone" else {}
    backbone = _build("model.backbone", backbones.BACKBONES, section.backbone, **width)
    if section.name == "Backbone":
        return backbone
    return GroupFace(backbone, section.embedding_dim, **section.group_arguments)


def build_uncompiled(
    recipe: Recipe, num_classes: int, starts: list[Start] | None = None
) -> tuple[FaceClassifier, dict[int, float]]:
    """Builds the model, head and losses of a recipe, and the `rate_factors` of its variables.

    The arguments are those of `build_classifier`.
    """
    model = build_model(recipe.model, starts)
    freeze(model, recipe.model.freeze)
    head = None
    if recipe.head.name != NO_HEAD:
        given = {"num_classes": num_classes, "batch_size": recipe.training.batch_size}
        head = _build("head", heads.HEADS, recipe.head, **given)
    extra_losses = [
        _build(f"loss.{index}", losses.LOSSES, each, num_classes=num_classes)
        for index, each in enumerate(recipe.loss)
    ]
    teacher = None if recipe.teacher is None else load_model(Path(recipe.teacher.model))
    classifier = FaceClassifier(model, head, extra_losses, teacher)
    return classifier, rate_factors(classifier, recipe.optimizer.learning_rate_factors)


def build_classifier(
    recipe: Recipe, num_classes: int, steps_per_epoch: int, starts: list[Start] | None = None
) -> FaceClassifier:
    """Builds and compiles the model, head and losses of a recipe.

    Args:
        recipe: the recipe.
        num_classes: number of identities.
        steps_per_epoch: steps per epoch, for the learning-rate schedule.
        starts: see `build_model`.
    """
    classifier, factors = build_uncompiled(recipe, num_classes, starts)
    rate, epochs = recipe.optimizer.learning_rate, recipe.training.epochs
    schedule = build_schedule(recipe.schedule, rate, epochs, steps_per_epoch)
    classifier.compile(
        optimizer=build_optimizer(recipe.optimizer, schedule),
        skip_nonfinite=recipe.training.nonfinite == "skip",
        synchronized_batch_norm=recipe.training.synchronized_batch_norm,
        jit_compile=_jit_compile(recipe.training.jit_compile),
    )
    if factors:
        optimizer: Any = classifier.optimizer
        # Keras can wrap the optimizer to scale the loss. The factors belong to the inner one.
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        optimizer.set_rate_factors(factors)
    # A checkpoint can only be restored into variables that exist.
    if not classifier.optimizer.built:
        classifier.optimizer.build(classifier.trainable_variables)
    return classifier


def _build(
    place: str, known: Mapping[str, Any], section: sections.NamedSection, **given: int
) -> Any:
    """Builds the class of a table. `given` arguments are passed if the class has them.

    Raises ValueError, with the `place` of the table, also for values of another type.
    """
    found = known[section.name]
    taken = inspect.signature(found.__init__).parameters
    try:
        return found(**section.arguments | {key: given[key] for key in given if key in taken})
    except (ArithmeticError, AttributeError, TypeError) as error:
        raise ValueError(
            f"[{place}] has a value of a type that {section.name} does not take ({error}). "
            f"Received: {section.arguments}"
        ) from error


def build_optimizer(
    section: sections.OptimizerSection, schedule: Any
) -> keras.optimizers.Optimizer:
    """Builds the optimizer of [optimizer] with a learning rate or a schedule."""
    renamed = {"name", "learning_rate", "momentum", "accumulate_steps", "learning_rate_factors"}
    arguments = section.model_dump(exclude=renamed)
    # In Adam, beta_1 of the first moment has the role of momentum.
    arguments["momentum" if section.name == "SGD" else "beta_1"] = section.momentum
    if section.accumulate_steps > 1:
        arguments["gradient_accumulation_steps"] = section.accumulate_steps
    return OPTIMIZERS[section.name](learning_rate=schedule, **arguments)


def build_augmentation(
    data: sections.DataSection, layers: Iterable[sections.NamedSection] = ()
) -> Augmentation | None:
    """Builds the augmentation of [data] and [[augmentation]], or returns None if it is empty."""
    augmentation = Augmentation(
        flip=data.flip,
        shift=data.shift,
        layers=[{"name": section.name, **section.arguments} for section in layers],
    )
    return augmentation if augmentation.draws or augmentation.has_layers else None


def _jit_compile(setting: bool | str) -> bool | str:
    if setting != "auto" or keras.backend.backend() != "tensorflow":
        return setting
    import tensorflow as tf

    # On CPUs, a training step in XLA is several times slower than TensorFlow's own kernels.
    return "auto" if tf.config.list_physical_devices("GPU") else False


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Sets the global dtype policy inside the block and restores the earlier one after it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
