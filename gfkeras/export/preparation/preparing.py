"""Steps that prepare a trained model for an artefact."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from gfkeras.export.preparation import channels, rewrites
from gfkeras.export.preparation.flattening import flattened
from gfkeras.export.preparation.network import Network

Step = Callable[[Network], None]
# Steps for every artefact. Scales and shifts must exist before `fold_channels` can move them, and
# folding can create new denormals.
STEPS: tuple[Step, ...] = (
    rewrites.drop_training_layers, rewrites.fix_flattening, channels.open_batch_norms,
    channels.open_input_normalization, channels.open_rescalings, channels.fold_channels,
    rewrites.flush_denormals,
)  # fmt: skip
# Steps for processors with integer arithmetic only: PReLU is replaced by products and a maximum.
INTEGER_STEPS: tuple[Step, ...] = (rewrites.rewrite_prelus, *STEPS)
# Steps for products of integer weights with float pixels.
DENSE_STEPS: tuple[Step, ...] = (*STEPS, rewrites.pointwise_as_dense)


def float32_model(model: keras.Model) -> keras.Model:
    """Returns the model itself if all of its layers are float32, otherwise a float32 copy.

    Artefacts compute in float32, because runtimes on phones and in browsers have no bfloat16, and
    float16 overflows in some layers. Raises ValueError if the model cannot be rebuilt.
    """
    layers = list(model._flatten_layers(include_self=True, recursive=True))
    if all(layer.dtype_policy.name == "float32" for layer in layers):
        return model
    # A layer without a policy in its configuration takes the global one.
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
    """Returns the configuration with every dtype policy replaced by float32."""
    if isinstance(config, list | tuple):
        return type(config)(_as_float32(item) for item in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") in ("DTypePolicy", "DTypePolicyMap", "AutocastDTypePolicy"):
        return keras.saving.serialize_keras_object(keras.DTypePolicy("float32"))
    return {
        # Activations and casts name their dtype in a plain string.
        key: "float32"
        if key == "dtype" and value in ("bfloat16", "float16", "mixed_bfloat16", "mixed_float16")
        else _as_float32(value)
        for key, value in config.items()
    }


def prepare(
    model: keras.Model, mode: str | None = None, steps: Sequence[Step] = STEPS
) -> keras.Model:
    """Builds a functional float32 model that computes the same outputs with less work.

    It returns a dictionary with `embedding` and, for a GroupFace, `group_feature` and
    `group_logits`. The steps are exact except for rounding: elements of unit embeddings change by
    at most 1e-5. The given model does not change.

    Args:
        model: a `GroupFace`, or a functional model from images to an embedding.
        mode: "soft" or "hard" for a GroupFace. The default is the model's mode.
        steps: the steps, in order. `steps=[channels.fold_channels]` runs a single one.

    Raises:
        NotRewritable: if the model is not functional.
    """
    return prepared_network(model, mode, steps).model()


def prepared_network(model: keras.Model, mode: str | None, steps: Sequence[Step]) -> Network:
    """Returns the prepared network, of which `prepare` builds a model."""
    network = flattened(float32_model(model), mode)
    for step in steps:
        step(network)
    return network
