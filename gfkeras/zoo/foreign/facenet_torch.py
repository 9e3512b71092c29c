"""State dicts of facenet-pytorch, in which public weights of FaceNet are kept."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.backbones import InceptionResNetV1
from gfkeras.zoo.foreign.network import float32, listing

# Modules whose layers have other names in every backbone.
_NAMES = {"last_linear": "embedding_fc", "last_bn": "embedding_bn"}
# Values of a layer in the order of Keras, and the change of a kernel's axes from PyTorch's.
_VALUES: dict[Any, tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]] = {
    keras.layers.BatchNormalization: (
        ("weight", "bias", "running_mean", "running_var"), lambda value: value,
    ),
    keras.layers.Conv2D: (("weight", "bias"), lambda kernel: kernel.transpose(2, 3, 1, 0)),
    keras.layers.Dense: (("weight", "bias"), np.transpose),
}  # fmt: skip


def is_facenet(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether a state dict has the names of facenet-pytorch."""
    return "conv2d_1a.conv.weight" in arrays


def facenet_backbone(
    path: Path, arrays: Mapping[str, np.ndarray], pixel_scale: float | None
) -> InceptionResNetV1:
    """Returns the network of a state dict, without its classifier (`logits`).

    Raises ValueError if values are missing, left over, or of another shape.
    """
    model = InceptionResNetV1(embedding_dim=512, pixel_scale=pixel_scale or 1 / 128)
    modules: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        module, _, leaf = key.rpartition(".")
        # Training steps and the classifier do not change the embedding.
        if leaf != "num_batches_tracked" and module != "logits":
            modules.setdefault(module, {})[leaf] = value
    filled = set()
    for module, values in modules.items():
        name = _NAMES.get(module, module.replace(".", "_"))
        name += "_conv" if module.endswith(".conv2d") else ""
        try:
            layer = model.get_layer(name)
        except ValueError:
            raise _differs(path, f"it also has {module!r}") from None
        kind = next((each for each in _VALUES if isinstance(layer, each)), None)
        order, changed = _VALUES[kind] if kind else ((), np.asarray)
        if not set(values) <= set(order):
            raise _differs(path, f"{module!r} has {listing(values)}")
        found = [float32(values[leaf]) for leaf in order if leaf in values]
        expected = [tuple(weight.shape) for weight in layer.weights]
        if found and found[0].ndim == len(expected[0] if expected else ()):
            found[0] = changed(found[0])
        if [value.shape for value in found] != expected:
            shapes = [tuple(values[leaf].shape) for leaf in order if leaf in values]
            raise _differs(path, f"{module!r} has values of shapes {shapes}")
        layer.set_weights(found)
        filled.add(name)
    if missing := [each.name for each in model.layers if each.weights and each.name not in filled]:
        raise _differs(path, f"it lacks the values of the layers {missing[:3]}")
    return model


def _differs(path: Path, how: str) -> ValueError:
    return ValueError(f"{path} differs from facenet-pytorch's InceptionResnetV1: {how}")
