"""Keras objects of the sections of a recipe."""

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
from gfkeras.training.starting import freeze, initial_model, rate_factors


def build_model(section: sections.ModelSection) -> keras.Model:
    """The GroupFace or the plain backbone of [model]: untrained, or as `init` is."""
    if section.init is not None:
        return initial_model(section)
    name, arguments = section.backbone.name, section.backbone.arguments
    if section.name == "Backbone":
        return backbones.get(name, embedding_dim=section.embedding_dim, **arguments)
    backbone = backbones.get(name, **arguments)
    return GroupFace(backbone, section.embedding_dim, **section.group_arguments)


def build_classifier(recipe: Recipe, num_classes: int, steps_per_epoch: int) -> FaceClassifier:
    """Model, head and losses, compiled; the schedule counts in `steps_per_epoch`."""
    model = build_model(recipe.model)
    freeze(model, recipe.model.freeze)
    head = None
    if recipe.head.name != NO_HEAD:
        batch_size = recipe.training.batch_size
        head = _build(heads.HEADS, recipe.head, num_classes=num_classes, batch_size=batch_size)
    extra_losses = [_build(losses.LOSSES, each, num_classes=num_classes) for each in recipe.loss]
    teacher = None if recipe.teacher is None else load_model(Path(recipe.teacher.model))
    classifier = FaceClassifier(model, head, extra_losses, teacher)
    rate, epochs = recipe.optimizer.learning_rate, recipe.training.epochs
    schedule = build_schedule(recipe.schedule, rate, epochs, steps_per_epoch)
    classifier.compile(
        optimizer=build_optimizer(recipe.optimizer, schedule),
        skip_nonfinite=recipe.training.nonfinite == "skip",
        synchronized_batch_norm=recipe.training.synchronized_batch_norm,
        jit_compile=_jit_compile(recipe.training.jit_compile),
    )
    if recipe.optimizer.learning_rate_factors:
        optimizer: Any = classifier.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        optimizer.set_rate_factors(rate_factors(classifier, recipe.optimizer.learning_rate_factors))
    # So that a kept state can be put into its variables.
    if not classifier.optimizer.built:
        classifier.optimizer.build(classifier.trainable_variables)
    return classifier


def _build(known: Mapping[str, Any], section: sections.NamedSection, **given: int) -> Any:
    """The head or loss of a table, with those of the `given` arguments that it takes."""
    found = known[section.name]
    taken = inspect.signature(found.__init__).parameters
    return found(**section.arguments | {key: given[key] for key in given if key in taken})


def build_optimizer(
    section: sections.OptimizerSection, schedule: Any
) -> keras.optimizers.Optimizer:
    """The optimizer of [optimizer]; `schedule` is a learning rate or that of each step."""
    renamed = {"name", "learning_rate", "momentum", "accumulate_steps", "learning_rate_factors"}
    arguments = section.model_dump(exclude=renamed)
    # Adam's first moment plays the part of momentum.
    arguments["momentum" if section.name == "SGD" else "beta_1"] = section.momentum
    if section.accumulate_steps > 1:
        arguments["gradient_accumulation_steps"] = section.accumulate_steps
    return OPTIMIZERS[section.name](learning_rate=schedule, **arguments)


def build_augmentation(
    data: sections.DataSection, layers: Iterable[sections.NamedSection] = ()
) -> Augmentation | None:
    """What [data] and [[augmentation]] do to images; None where they do nothing."""
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
