"""The layers a recipe can name under [[augmentation]], with their arguments."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Literal

import keras

from gfkeras.data.augmentation.rand_augment import RandAugment
from gfkeras.data.augmentation.random_low_resolution import RandomLowResolution
from gfkeras.data.augmentation.random_resized_crop import RandomResizedCrop
from gfkeras.errors import by_name, in_range, nearest

# Set here and not by the recipe: images are 0…255 with channels last, seeds follow from keys.
_OURS = {"self", "seed", "value_range", "data_format", "bounding_box_format", "kwargs"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A layer and what there is to know about it.

    Attributes:
        layer: the class.
        probability: how the layer takes the probability that an image is changed: as the
            number `factor`, as both ends of the range `factor`, or not at all; then the
            images to change are drawn here.
        compiled_by_jax: whether compiling it with JAX pays.
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
        """Their names, and `probability`."""
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
    """Builds a layer by its name.

    Args:
        name: a key of `AUGMENTATIONS`.
        arguments: the layer's own, and perhaps `probability`.

    Returns:
        The layer and the probability that is left to draw with: 1 where the layer does.

    Raises:
        ValueError: in one line, for a name or argument that is none, with the nearest, an
            argument that is missing, or a value that the layer refuses.
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
    if value == 1 and not isinstance(value, bool):
        return 1.0
    try:
        return in_range("probability", value, 0, 1)
    except ValueError:
        raise ValueError(
            f"`probability` must be in [0, 1]. Received: probability={value!r}"
        ) from None
