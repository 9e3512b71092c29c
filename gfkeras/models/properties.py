"""Properties of face models: outputs, fingerprint and multiply-accumulates."""

import hashlib
from math import prod
from typing import Any

import keras
import numpy as np
from keras import layers

from gfkeras.errors import one_of
from gfkeras.layers import GroupDecisionNetwork, GroupedConv2D, GroupEnsemble
from gfkeras.layers.group_ensemble import MODES


def as_outputs(result: Any) -> dict[str, Any]:
    """Returns the output of a model as a dictionary with the key "embedding".

    A single tensor, such as the output of a backbone, becomes `{"embedding": tensor}`. A
    dictionary, such as the output of a `GroupFace`, is returned unchanged.

    Raises:
        ValueError: for a dictionary without "embedding", and for anything else.
    """
    if isinstance(result, dict):
        if "embedding" not in result:
            raise ValueError(
                f"A face model's outputs must contain 'embedding'. Received: {sorted(result)}"
            )
        return result
    if not hasattr(result, "shape"):
        raise ValueError(
            "A face model must return the embedding or a dictionary with 'embedding'. "
            f"Received: {type(result).__name__}"
        )
    return {"embedding": result}


def symbolic_outputs(argument: str, model: Any) -> dict[str, Any]:
    """Returns `as_outputs` of a model's symbolic outputs. `argument` is its name in messages.

    Raises:
        ValueError: for a model without them, such as a `Sequential` of unknown input shape.
    """
    try:
        # A `Sequential` has no `output` before it is called on a symbolic input.
        whole = isinstance(model, keras.Sequential) and model.built
        output = model.outputs[0] if whole else model.output
    except AttributeError as error:
        raise ValueError(
            f"`{argument}` must be a keras.Model that knows its input shape: a functional one, or "
            "a Sequential that begins with keras.Input((height, width, 3)). "
            f"Received: {argument}={model!r}"
        ) from error
    return as_outputs(output)


def model_fingerprint(model: keras.Model, mode: str | None = None) -> str:
    """Returns the SHA-256 of a model's weights, mode and group scale, 64 hexadecimal digits.

    `mode` is "soft" or "hard" for a model with groups. The default is the model's own mode.
    """
    digest = hashlib.sha256(str(mode or getattr(model, "mode", None)).encode())
    # A scale of 1 is left out, so models from before `group_scale` keep their fingerprints.
    if (scale := getattr(model, "group_scale", 1.0)) != 1:
        digest.update(str(scale).encode())
    for weight in model.weights:
        values = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        # Equal bytes in another shape or dtype are another model.
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def count_macs(model: keras.Model, mode: str | None = None) -> int:
    """Returns the multiply-accumulates of convolutions and FCs for one image.

    Activations, additions and normalisations do not count. Normalisations can be folded into
    the layer before them. FLOPs in papers are usually twice this number.

    `mode` counts a GroupFace as "soft" or "hard". None counts its current mode. Hard counts the
    FC of one group, as in exported artefacts.
    """
    if mode is not None:
        one_of("mode", mode, MODES)
    return sum(_layer_macs(layer, mode) for layer in model.layers)


def _layer_macs(layer: keras.layers.Layer, mode: str | None) -> int:
    if isinstance(layer, keras.Model):
        return count_macs(layer, mode)
    if isinstance(layer, (layers.Conv2D, GroupedConv2D, layers.DepthwiseConv2D)):
        return prod(layer.output.shape[1:3]) * prod(layer.kernel.shape)
    if isinstance(layer, layers.Dense):
        return prod(layer.kernel.shape)
    if isinstance(layer, GroupDecisionNetwork):
        return sum(_layer_macs(fc, mode) for fc in (layer.fc1, layer.fc2, layer.classifier))
    if isinstance(layer, GroupEnsemble):
        groups = layer.num_groups if (mode or layer.mode) == "soft" else 1
        return groups * prod(layer.kernel.shape[1:])
    return 0
