"""The card of an artefact: what it is, what goes in and out, where it comes from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import keras

from gfkeras.cards import CARD_FORMAT
from gfkeras.layers import InputNormalization
from gfkeras.version import __version__


def describe(
    form: Any,
    model: keras.Model,
    settings: dict[str, Any],
    ends: tuple[str, str],
    fingerprint: str,
    about: dict[str, Any],
) -> dict[str, Any]:
    """The card that goes into an artefact; the one beside it has `gfkeras.cards.file_facts` too.

    Args:
        form: what `export_form` returned.
        model: the Keras model it was made from.
        settings: format, precision, mode and batch_size.
        ends: the types of its inputs and outputs.
        fingerprint: of the model in the mode that is exported.
        about: of `About.to_json`.
    """
    signature = form.serve.input_signature[0]
    outputs = form.serve.get_concrete_function().structured_outputs
    return {
        "card": CARD_FORMAT,
        "gfkeras": __version__,
        "keras": keras.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **settings,
        "inputs": [
            {
                "name": signature.name,
                "shape": signature.shape.as_list(),
                "dtype": ends[0],
                "values": "RGB, 0…255"
                + (", less 128" if ends[0] == "int8" else "")
                + "; normalised inside",
            }
        ],
        "normalisation": _normalisation(model),
        "outputs": [
            {"name": name, "shape": tensor.shape.as_list(), "dtype": ends[1]}
            for name, tensor in outputs.items()
        ],
        "model": _summary(model),
        "fingerprint": fingerprint,
        **about,
    }


def _normalisation(model: keras.Model) -> dict[str, Any]:
    """What the artefact does with pixels of 0…255 before its first convolution: x·scale + offset.

    A model without our layer for it keeps to itself what it does.
    """
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, InputNormalization):
            return {"inside": True, "scale": layer.scale, "offset": -layer.mean * layer.scale}
    return {"inside": True}


def _summary(model: keras.Model) -> dict[str, Any]:
    """The architecture by its arguments, without weights or nested configurations."""
    plain = (str, int, float, bool, type(None), list, tuple)
    arguments = {
        key: value
        for key, value in model.get_config().items()
        # The artefact's mode stands in the card itself and may be another.
        if key != "mode" and isinstance(value, plain)
    }
    if not hasattr(model, "save_to"):
        # A functional model's configuration lists each of its layers.
        arguments = {"name": model.name}
    summary = {"class": type(model).__name__, "parameters": model.count_params(), **arguments}
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, keras.Model):
        summary["backbone"] = _summary(backbone)
    return summary
