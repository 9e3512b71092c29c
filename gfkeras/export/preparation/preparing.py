"""Preparation of a trained model as an artefact holds it."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from gfkeras.export.preparation.channels import (
    fold_channels,
    open_batch_norms,
    open_input_normalization,
)
from gfkeras.export.preparation.flattening import flattened
from gfkeras.export.preparation.network import Network
from gfkeras.export.preparation.rewrites import (
    drop_training_layers,
    fix_flattening,
    flush_denormals,
    pointwise_as_dense,
    rewrite_prelus,
)

Step = Callable[[Network], None]
# What every artefact gets.
STEPS: tuple[Step, ...] = (
    drop_training_layers, fix_flattening, open_batch_norms, open_input_normalization,
    fold_channels, flush_denormals,
)  # fmt: skip
# For processors that know nothing but integers: without PReLU.
INTEGER_STEPS: tuple[Step, ...] = (rewrite_prelus, *STEPS)
# For integer weights times float pixels.
DENSE_STEPS: tuple[Step, ...] = (*STEPS, pointwise_as_dense)


def float32_model(model: keras.Model) -> keras.Model:
    """The model itself if all of it is float32; otherwise a float32 copy.

    Artefacts are float32 inside: runtimes on phones and in browsers have no bfloat16, and float16
    overflows in places. Raises ValueError if the configuration does not rebuild the model.
    """
    layers = list(model._flatten_layers(include_self=True, recursive=True))
    if all(layer.dtype_policy.name == "float32" for layer in layers):
        return model
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        config = _as_float32(keras.saving.serialize_keras_object(model))
        copy = keras.saving.deserialize_keras_object(config, safe_mode=True)
        copy.set_weights([np.asarray(value, np.float32) for value in model.get_weights()])
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"`model` computes in {model.dtype_policy.name} and cannot be rebuilt in float32 from "
            f"its configuration: {error}"
        ) from error
    finally:
        keras.config.set_dtype_policy(before)
    return copy


def _as_float32(config: Any) -> Any:
    """The configuration with every dtype policy replaced."""
    if isinstance(config, list | tuple):
        return type(config)(_as_float32(item) for item in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") in ("DTypePolicy", "DTypePolicyMap", "AutocastDTypePolicy"):
        return keras.saving.serialize_keras_object(keras.DTypePolicy("float32"))
    return {
        # float32 for activations and casts named by a plain string as well.
        key: "float32"
        if key == "dtype" and value in ("bfloat16", "float16", "mixed_bfloat16", "mixed_float16")
        else _as_float32(value)
        for key, value in config.items()
    }


def prepare(
    model: keras.Model, mode: str | None = None, steps: Sequence[Step] = STEPS
) -> keras.Model:
    """A functional float32 model that computes the same with less; the one given is not changed.

    It returns the dictionary of `embedding` and, for a GroupFace, `group_feature` and
    `group_logits`. Each step is exact but for rounding: unit embeddings stay within 1e-5.

    Args:
        model: a `GroupFace`, or a functional model from images to an embedding.
        mode: "soft" or "hard" for a GroupFace; its own by default.
        steps: what is done, in order; `steps=[fold_channels]` does one alone.

    Raises:
        NotRewritable: for a model that is not functional, or calls layers with more than tensors.
    """
    return prepared_network(model, mode, steps).model()


def prepared_network(model: keras.Model, mode: str | None, steps: Sequence[Step]) -> Network:
    """The network that `prepare` makes a model of."""
    network = flattened(float32_model(model), mode)
    for step in steps:
        step(network)
    return network
