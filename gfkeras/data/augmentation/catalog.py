"""Layers that a recipe can name under [[augmentation]]."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import numbers
from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from gfkeras.data.augmentation.resampling_layers import RandomLowResolution, RandomResizedCrop
from gfkeras.errors import by_name, nearest, positive_int

# Set here and not by the recipe: images are 0…255 with channels last, seeds follow from keys.
_OURS = {"self", "seed", "value_range", "data_format", "bounding_box_format", "kwargs"}


class RandAugment(keras.layers.RandAugment):
    """`keras.layers.RandAugment`, with the same pictures, several times faster.

    Keras computes all eleven operations `num_ops` times and keeps `num_ops` of the results; this
    computes only those. The operations are chosen once a batch, as Keras does.
    """

    def __init__(self, num_ops: int = 2, **kwargs: Any):
        super().__init__(num_ops=positive_int("num_ops", num_ops), **kwargs)

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        operations = [
            functools.partial(self._operation, getattr(self, name), drawn)
            for name, drawn in transformation["transforms"].items()
        ]
        for i in range(self.num_ops):
            images = self._apply(operations, transformation["layer_idxes"][i], images)
        return images

    def _operation(self, layer: Any, drawn: Any, images: Any) -> Any:
        changed = ops.cast(layer.transform_images(images, drawn), self.compute_dtype)
        # All the same to the branches of a graph.
        return ops.reshape(changed, ops.shape(images))

    def _apply(self, operations: list[Any], chosen: Any, images: Any) -> Any:
        try:
            return operations[int(chosen)](images)
        except TypeError:
            # A tensor of a graph has no value yet: the choice becomes part of the graph.
            return ops.switch(chosen, operations, images)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A layer and what there is to know about it.

    `probability` says how the layer takes the probability that an image is changed: as the number
    `factor`, as both ends of the range `factor`, or not at all; then the images to change are drawn
    here. `compiled_by_jax` says whether compiling it with JAX pays.
    """

    layer: type[keras.layers.Layer]
    probability: Literal["factor", "factors"] | None = None
    compiled_by_jax: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that say how gfkeras keeps its images."""
        ours = {"value_range": (0, 255), "data_format": "channels_last"}
        return {name: value for name, value in ours.items() if name in self._signature}

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The layer's arguments that a recipe may give."""
        return {name: p for name, p in self._signature.items() if name not in _OURS}

    @property
    def arguments(self) -> list[str]:
        """The names of `parameters`, and `probability`."""
        return sorted([*self.parameters, "probability"])

    @property
    def _signature(self) -> dict[str, inspect.Parameter]:
        found: dict[str, inspect.Parameter] = {}
        # Up to the class that writes them all out: RandAugment here passes most on to Keras'.
        for cls in self.layer.__mro__:
            if "__init__" in vars(cls):
                found = {**inspect.signature(vars(cls)["__init__"]).parameters, **found}
                if "seed" in found:
                    break
        return found


AUGMENTATIONS: dict[str, Entry] = {
    "color": Entry(keras.layers.RandomColorJitter),
    "grayscale": Entry(keras.layers.RandomGrayscale, probability="factor"),
    "crop": Entry(RandomResizedCrop),
    "low_resolution": Entry(RandomLowResolution),
    "blur": Entry(keras.layers.RandomGaussianBlur, probability="factors"),
    "cutout": Entry(keras.layers.RandomErasing, probability="factors"),
    "zoom": Entry(keras.layers.RandomZoom),
    "rotation": Entry(keras.layers.RandomRotation),
    # JAX compiles its equalization for half a minute, into something slower.
    "rand_augment": Entry(RandAugment, compiled_by_jax=False),
}


def make_layer(name: str, arguments: Mapping[str, Any]) -> tuple[keras.layers.Layer, float]:
    """Builds a layer of `AUGMENTATIONS` from its own arguments and perhaps `probability`.

    Returns the layer and the probability that is left to draw with: 1 where the layer does. An
    unknown name or argument, with the nearest, a missing argument, or a value that the layer
    refuses raises ValueError in one line.
    """
    entry = by_name("augmentation", name, AUGMENTATIONS)
    _check_arguments(name, entry, arguments)
    own = {**entry.settings, **arguments}
    probability = 1.0
    if "probability" in own:
        probability = _probability(own.pop("probability"))
        if entry.probability is not None:
            if "factor" in own:
                raise ValueError(
                    f"{name} takes `probability` or `factor`, not both. "
                    f"Received: probability={probability:g}, factor={own['factor']!r}"
                )
            own["factor"] = probability if entry.probability == "factor" else (probability,) * 2
            probability = 1.0
    policy = keras.config.dtype_policy()
    # By the global policy too: layers within a layer of Keras do not get its dtype.
    keras.config.set_dtype_policy("float32")
    try:
        return entry.layer(dtype="float32", **own), probability
    except (TypeError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: {reason}") from error
    finally:
        keras.config.set_dtype_policy(policy)


def _check_arguments(name: str, entry: Entry, arguments: Mapping[str, Any]) -> None:
    accepted = entry.arguments
    for argument in arguments:
        if argument not in accepted:
            guess = nearest(argument, accepted)
            hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(accepted)}."
            raise ValueError(f"Unknown argument {argument!r} of {name}; {hint}")
    for argument, parameter in entry.parameters.items():
        if parameter.default is parameter.empty and argument not in arguments:
            raise ValueError(f"{name} needs `{argument}`. Received: {dict(arguments)}")


def _probability(value: Any) -> float:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ValueError(f"`probability` must be in [0, 1]. Received: probability={value!r}")
    return float(value)
