"""Starting weights, frozen layers and learning rates by layer."""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from gfkeras import zoo
from gfkeras.backbones import Backbone
from gfkeras.errors import nearest
from gfkeras.models import FaceClassifier, GroupFace
from gfkeras.training.recipe_sections import ModelSection

_BACKBONE = "backbone"


def initial_model(section: ModelSection) -> keras.Model:
    """Loads the model of `init` in [model] with its weights.

    A backbone for a GroupFace gets a new head (`GroupFace.from_backbone`), which first returns the
    backbone's embedding.

    Raises:
        ValueError: if the model does not exist or does not fit the other keys.
    """
    found = _load(str(section.init))
    if section.name == "Backbone":
        if not isinstance(found, Backbone) or found.embedding_dim is None:
            raise ValueError(
                f"`model.init` must be a backbone with an embedding. Received: {section.init!r}, "
                f"a {type(found).__name__}"
            )
        _require_same("embedding_dim", found.embedding_dim, section)
        return found
    if isinstance(found, GroupFace):
        for key, value in section.group_arguments.items():
            # The mode does not depend on the weights, so it can differ from the saved one.
            if key == "mode":
                found.mode = value
            elif hasattr(found, key) and key != "group_initializer":
                _require_same(key, getattr(found, key), section)
        _require_same("embedding_dim", found.embedding_dim, section)
        return found
    arguments = section.group_arguments
    if "embedding_dim" in section.model_fields_set:
        arguments["embedding_dim"] = section.embedding_dim
    return GroupFace.from_backbone(found, **arguments)


def freeze(model: keras.Model, patterns: Iterable[str]) -> None:
    """Freezes the layers that match a pattern, including their batch statistics.

    Raises:
        ValueError: if a pattern matches no layer. The message suggests a similar name.
    """
    layers = dict(named_layers(model))
    for pattern in patterns:
        for name in _fitting("model.freeze", pattern, layers):
            layers[name].trainable = False


def rate_factors(classifier: FaceClassifier, factors: Mapping[str, float]) -> dict[int, float]:
    """Returns factors of the learning rate by the position of trainable variables.

    Raises:
        ValueError: if a pattern matches no layer. The message suggests a similar name.
    """
    layers = dict(named_layers(classifier.model))
    if classifier.head is not None:
        layers["head"] = classifier.head
    places = {id(v): i for i, v in enumerate(classifier.trainable_variables)}
    found: dict[int, float] = {}
    for pattern, factor in factors.items():
        for name in _fitting("optimizer.learning_rate_factors", pattern, layers):
            for variable in layers[name].trainable_variables:
                found[places[id(variable)]] = factor
    return found


def named_layers(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers with weights by name. Layers of the backbone are "backbone/NAME"."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield _BACKBONE, layer
            for inner in layer.layers:
                if inner.weights:
                    yield f"{_BACKBONE}/{inner.name}", inner
        elif layer.weights:
            yield layer.name, layer


def _fitting(key: str, pattern: str, layers: Mapping[str, Any]) -> list[str]:
    names = fnmatch.filter(layers, pattern)
    if not names:
        guess = nearest(pattern, layers)
        hint = f" (did you mean {guess!r}?)" if guess else ""
        raise ValueError(f"`{key}` must match a layer{hint}. Received: {pattern!r}")
    return names


def _require_same(key: str, found: Any, section: ModelSection) -> None:
    if key not in section.model_fields_set:
        return
    wanted = getattr(section, key)
    wanted = None if wanted == "none" else wanted
    if wanted != found:
        raise ValueError(
            f"`model.{key}` must be {found!r}, the value of `init`. Received: {wanted!r}"
        )


def _load(init: str) -> keras.Model:
    try:
        if Path(init).is_file():
            return zoo.import_weights(init)
        return zoo.load(init)
    except ValueError as error:
        raise ValueError(
            "`model.init` must be a preset, a model folder or a file of weights. "
            f"Received: {init!r}: {error}"
        ) from error
