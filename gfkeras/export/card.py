"""The card of an artefact, PATH.json: what it is, what goes in and out, its hash."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras

from gfkeras.files import sha256
from gfkeras.models.fingerprint import model_fingerprint
from gfkeras.version import __version__

CARD_FORMAT = 1


def card_path(path: Path) -> Path:
    """Where the card of an artefact lies: beside it, with `.json` appended."""
    return path.with_name(f"{path.name}.json")


def describe(
    written: Path,
    form: Any,
    model: keras.Model,
    settings: dict[str, Any],
    ends: tuple[str, str] = ("float32", "float32"),
) -> dict[str, Any]:
    """The card of an artefact just written.

    Args:
        written: the file or folder.
        form: what `export_form` returned.
        model: the Keras model it was made from.
        settings: format, precision, mode and batch_size.
        ends: the types of its inputs and outputs.
    """
    signature = form.serve.input_signature[0]
    outputs = form.serve.get_concrete_function().structured_outputs
    files = [f for f in sorted(written.rglob("*")) if f.is_file()] if written.is_dir() else []
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
        "outputs": [
            {"name": name, "shape": tensor.shape.as_list(), "dtype": ends[1]}
            for name, tensor in outputs.items()
        ],
        "model": _summary(model),
        "fingerprint": model_fingerprint(model, settings["mode"]),
        "size_bytes": sum(f.stat().st_size for f in files or [written]),
        "sha256": {f.relative_to(written).as_posix(): sha256(f) for f in files} or sha256(written),
    }


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
