"""Catalog of the layers that a recipe can name under [[augmentation]]."""

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

# gfkeras sets these arguments: images are 0…255 with channels last, and seeds come from keys.
_OURS = {"self", "seed", "value_range", "data_format", "bounding_box_format", "kwargs"}


class RandAugment(keras.layers.RandAugment):
    """`keras.layers.RandAugment` with the same results, several times faster.

    Keras computes all eleven operations `num_ops` times and keeps `num_ops` of the results. This
    class computes only those. Like Keras, it chooses the operations once for each batch.
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
        # All branches of `switch` must have the same dtype and static shape.
        return ops.reshape(changed, ops.shape(images))

    def _apply(self, operations: list[Any], chosen: Any, images: Any) -> Any:
        try:
            return operations[int(chosen)](images)
        except TypeError:
            # A tensor of a graph does not have a value yet. The choice becomes part of the graph.
            return ops.switch(chosen, operations, images)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A layer and how to use it.

    `probability` says how the layer takes the probability that an image is changed: as the number
    `factor`, as both ends of the range `factor`, or not at all. In the last case the images to
    change are drawn outside the layer. `compiled_by_jax` is False if JAX should not compile it.
    """

    layer: type[keras.layers.Layer]
    probability: Literal["factor", "factors"] | None = None
    compiled_by_jax: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that describe how gfkeras stores images."""
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
        # Stop at the class that lists all arguments. RandAugment above passes most of them on.
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
    # JAX takes half a minute to compile its equalization, and the result is slower.
    "rand_augment": Entry(RandAugment, compiled_by_jax=False),
}


def make_layer(name: str, arguments: Mapping[str, Any]) -> tuple[keras.layers.Layer, float]:
    """Builds a layer of `AUGMENTATIONS` from its arguments and, if given, `probability`.

    Returns the layer and the probability with which the caller applies it: 1 if the layer itself
    draws the images to change. Raises ValueError, in one line, for an unknown name or argument, a
    missing argument, or a value that the layer rejects.
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
    # Keras does not pass the dtype on to layers inside a layer. They use the global policy.
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
