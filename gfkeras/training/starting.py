"""Starting weights, frozen layers and learning rates by layer."""

import dataclasses
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
from gfkeras.training.run_folder import RECIPE_FILE

_BACKBONE = "backbone"


# The layers of a GroupFace by the parts that are taken or start fresh together, in their order.
_PARTS = (
    ("shared_fc", "shared_bn"),
    ("instance_fc", "instance_bn"),
    ("group_decision",),
    ("group_ensemble",),
)
_GROUPS = ("group_decision", "group_ensemble")


@dataclasses.dataclass(frozen=True)
class Start:
    """The layers that training takes from `init`, and those that start fresh."""

    init: str
    taken: tuple[str, ...]
    fresh: tuple[str, ...] = ()

    @property
    def same_embedding(self) -> bool:
        """Whether the embedding at first is that of `init`."""
        return not set(self.fresh) - set(_GROUPS)

    def note(self) -> str:
        """Returns a line for the user."""
        fresh = f" Started fresh: {', '.join(self.fresh)}." if self.fresh else ""
        return f"Weights from {self.init}: {', '.join(self.taken)}.{fresh}"


def initial_model(section: ModelSection) -> tuple[keras.Model, Start]:
    """Loads the model of `init` in [model] with its weights.

    A backbone for a GroupFace gets a new head (`GroupFace.from_backbone`), which first returns the
    backbone's embedding. With other sizes in the section, the layers that fit keep their weights.
    New group FCs start at zero, unless the section has a `group_initializer`.

    Raises:
        ValueError: if the model does not exist or does not fit the other keys.
    """
    init = str(section.init)
    found = _load(init)
    require_fitting(found, section)
    if section.name == "Backbone":
        return found, Start(init, ("all layers",))
    arguments = section.group_arguments
    if "embedding_dim" in section.model_fields_set:
        arguments["embedding_dim"] = section.embedding_dim
    untrained: tuple[str, ...] = ()
    if not isinstance(found, GroupFace):
        untrained = _GROUPS
        trained = {"shared_dim": None, "embedding_dim": getattr(found, "embedding_dim", None)}
        fits = all(arguments.get(key, value) == value for key, value in trained.items())
        few = {"num_groups": 1} if "num_groups" in arguments else {}
        found = GroupFace.from_backbone(found, **(arguments if fits else few))
    return _with_sizes(found, arguments, init, untrained)


def _with_sizes(
    found: GroupFace, arguments: dict[str, Any], init: str, untrained: tuple[str, ...]
) -> tuple[GroupFace, Start]:
    """Returns a GroupFace with these arguments, and the weights of `found` where they fit."""
    # The mode and the initializer do not depend on the weights, so they can differ.
    found.mode = arguments.get("mode", found.mode)
    free = ("mode", "group_initializer")
    if all(getattr(found, key) == value for key, value in arguments.items() if key not in free):
        parts = [name for names in _PARTS for name in names if name in _layers(found)]
        taken = [name for name in parts if name not in untrained]
        return found, Start(init, (_BACKBONE, *taken), untrained)
    config = {**found.get_config(), "mode": found.mode, "group_initializer": "zeros", **arguments}
    model = GroupFace.from_config({**config, "name": None, "backbone": found.backbone})
    taken, fresh, follows = [_BACKBONE], list[str](), True
    ours = _layers(model)
    theirs = {name: layer for name, layer in _layers(found).items() if name not in untrained}
    for names in _PARTS:
        if names[0] not in ours:
            continue
        # A part is useless behind another part than the one that it was trained behind.
        follows = follows and all(
            name in theirs and _shapes(ours[name]) == _shapes(theirs[name]) for name in names
        )
        for name in names if follows else ():
            ours[name].set_weights(theirs[name].get_weights())
        (taken if follows else fresh).extend(names)
    return model, Start(init, tuple(taken), tuple(fresh))


def _layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in model.layers}


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def require_fitting(found: keras.Model, section: ModelSection) -> None:
    """Raises ValueError if the section describes another backbone than `found`, a model to start
    from, or if it is a backbone and `found` is not.
    """
    if section.name == "Backbone":
        if not isinstance(found, Backbone) or found.embedding_dim is None:
            raise ValueError(
                "`model.init` must be a backbone with an embedding. Received: "
                f"{section.init or 'the stage before'!r}, a {type(found).__name__}"
            )
        _require_same("embedding_dim", found.embedding_dim, section)
    found = getattr(found, "backbone", found)
    if "backbone" not in section.model_fields_set:
        return
    wanted, config = section.backbone, found.get_config()
    # The initializer does not matter, because all weights are taken.
    differ = {
        f"backbone.{key}": (config.get(key), value)
        for key, value in wanted.arguments.items()
        if key != "kernel_initializer" and _plain(config.get(key)) != _plain(value)
    }
    if type(found).__name__ != wanted.name:
        differ = {"backbone.name": (type(found).__name__, wanted.name)}
    for key, (present, value) in differ.items():
        raise ValueError(
            f"`model.{key}` must be {present!r}, the value of `init`. Received: {value!r}"
        )


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


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
    if wanted != found:
        raise ValueError(
            f"`model.{key}` must be {found!r}, the value of `init`. Received: {wanted!r}"
        )


def _load(init: str) -> keras.Model:
    path = Path(init)
    try:
        if path.is_file():
            return zoo.import_weights(init)
        return zoo.load(path / "last" if (path / RECIPE_FILE).is_file() else init)
    except ValueError as error:
        raise ValueError(
            "`model.init` must be a preset, the folder of a run or model, or a file of weights. "
            f"Received: {init!r}: {error}"
        ) from error
