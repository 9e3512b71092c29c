"""Keras objects of the sections of a recipe."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras

from gfkeras import backbones, heads, losses
from gfkeras.data.augmentation import Augmentation
from gfkeras.models import FaceClassifier, GroupFace, synchronize_batch_norm
from gfkeras.saving import load_model
from gfkeras.training.optimizers import OPTIMIZERS
from gfkeras.training.recipe import Recipe
from gfkeras.training.recipe_names import NO_HEAD
from gfkeras.training.recipe_sections import (
    DataSection,
    ModelSection,
    NamedSection,
    OptimizerSection,
)
from gfkeras.training.schedules import build_schedule
from gfkeras.training.starting import freeze, initial_model, rate_factors


def build_model(section: ModelSection) -> keras.Model:
    """The GroupFace or the plain backbone of [model]: untrained, or as `init` is."""
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
    model = build_model(recipe.model)
    freeze(model, recipe.model.freeze)
    head = None
    if recipe.head.name != NO_HEAD:
        head = build_head(recipe.head, num_classes, recipe.training.batch_size)
    extra_losses = [build_loss(section, num_classes) for section in recipe.loss]
    teacher = None if recipe.teacher is None else load_model(Path(recipe.teacher.model))
    classifier = FaceClassifier(model, head, extra_losses, teacher)
    synchronize_batch_norm(classifier, recipe.training.synchronized_batch_norm)
    classifier.compile(
        optimizer=build_optimizer(
            recipe.optimizer,
            build_schedule(
                recipe.schedule,
                recipe.optimizer.learning_rate,
                recipe.training.epochs,
                steps_per_epoch,
            ),
        ),
        skip_nonfinite=recipe.training.nonfinite == "skip",
        jit_compile=_jit_compile(recipe.training.jit_compile),
    )
    if recipe.optimizer.learning_rate_factors:
        optimizer: Any = classifier.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        optimizer.set_rate_factors(rate_factors(classifier, recipe.optimizer.learning_rate_factors))
    return classifier


def build_head(section: NamedSection, num_classes: int, batch_size: int) -> heads.MarginHead:
    """The head, with the batch size where it has to hold a batch's identities."""
    arguments = section.arguments
    if "batch_size" in inspect.signature(heads.HEADS[section.name].__init__).parameters:
        arguments["batch_size"] = batch_size
    return heads.get(section.name, num_classes=num_classes, **arguments)


def build_loss(section: NamedSection, num_classes: int) -> Any:
    """A loss of `gfkeras.losses`, with the number of classes where it has centers of its own."""
    arguments = section.arguments
    if "num_classes" in inspect.signature(losses.LOSSES[section.name].__init__).parameters:
        arguments["num_classes"] = num_classes
    return losses.get(section.name, **arguments)


def build_optimizer(section: OptimizerSection, schedule: Any) -> keras.optimizers.Optimizer:
    """The optimizer of [optimizer].

    Args:
        section: what to build.
        schedule: the learning rate, a number or that of each step (`build_schedule`).
    """
    arguments: dict[str, Any] = {
        # Adam's first moment plays the part of momentum.
        "momentum" if section.name == "SGD" else "beta_1": section.momentum,
        "learning_rate": schedule,
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


def build_augmentation(
    data: DataSection, layers: Iterable[NamedSection] = ()
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
