"""From a Keras model to an artefact and its card."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import keras

from gfkeras.errors import one_of, require
from gfkeras.export.card import card_path, describe
from gfkeras.export.graph import export_form, exported_model
from gfkeras.export.onnx import write_onnx
from gfkeras.export.quiet import quiet
from gfkeras.export.savedmodel import write_savedmodel
from gfkeras.export.tflite import write_tflite
from gfkeras.files import replacing
from gfkeras.models import GroupFace

FORMATS = ("savedmodel", "tflite", "onnx")
PRECISIONS = ("fp32", "fp16")
# Some room is left for the graph.
MAX_FILE_BYTES = 2**31 - 2**24


def export_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    format: str = "tflite",  # noqa: A002
    precision: str = "fp32",
    mode: str | None = None,
    batch_size: int | None = None,
) -> Path:
    """Writes an artefact that runs without gfkeras, and its card PATH.json.

    The artefact takes `images`, (B, H, W, 3) float32 RGB, 0…255, normalises them
    itself and gives `embedding` (not L2-normalised) and, of a GroupFace,
    `group_feature` and `group_logits`. It computes in float32 whatever the model's
    dtype policy. In hard mode only the chosen group's FC is computed. The model is
    not changed. Both files appear under their names when they are whole, replacing
    earlier ones; on an error nothing is.

    Args:
        model: a `GroupFace`, `FaceClassifier`, backbone, or any `keras.Model` from
            images to an embedding; on the TensorFlow backend.
        path: the file (.tflite, .onnx), or the folder of a SavedModel.
        format: "savedmodel", "tflite" or "onnx".
        precision: "fp32", or for TFLite "fp16": weights stored as float16.
        mode: "soft" or "hard" for a GroupFace; its own by default. Train soft,
            export hard is possible.
        batch_size: fixes the batch, which some runtimes need (LiteRT.js); any by
            default.

    Returns:
        The path.

    Raises:
        ValueError: for arguments that do not fit together, or a path that holds
            something else.
        ImportError: without the extra `export`.
    """
    path = Path(path)
    one_of("format", format, FORMATS)
    _check_precision(precision, format)
    _check_path(path, format)
    model = exported_model(model)
    if isinstance(model, GroupFace) and mode is None:
        mode = model.mode
    with quiet():
        form = export_form(model, mode=mode, batch_size=batch_size)
    _check_size(form, format)
    tf: Any = require("tensorflow", "export")
    # The artefact is renamed first: a card that does not match is refused by an
    # Embedder, while a new card beside an old artefact would describe another one.
    with replacing(card_path(path)) as card, replacing(path) as written:
        with quiet():
            if format == "savedmodel":
                write_savedmodel(tf, form, written)
            elif format == "tflite":
                write_tflite(tf, form, written, precision)
            else:
                write_onnx(tf, form, written)
        settings = {
            "format": format,
            "precision": precision,
            "mode": mode,
            "batch_size": batch_size,
        }
        description = describe(written, form, model, settings)
        card.write_text(
            json.dumps(description, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return path


def _check_precision(precision: str, format: str) -> None:  # noqa: A002
    if precision == "int8":
        raise ValueError(
            "`precision` 'int8' is not there yet; use 'fp32', or 'fp16' with format='tflite'. "
            f"Received: precision={precision!r}"
        )
    one_of("precision", precision, PRECISIONS)
    if precision == "fp16" and format != "tflite":
        raise ValueError(
            "`precision` 'fp16' is for format='tflite'; use 'fp32' with "
            f"{format!r}. Received: precision={precision!r}, format={format!r}"
        )


def _check_size(form: Any, format: str) -> None:  # noqa: A002
    size = sum(4 * math.prod(weight.shape) for weight in form.weights)
    # Both are one message of a serialisation that addresses 31 bits.
    if format != "savedmodel" and size > MAX_FILE_BYTES:
        raise ValueError(
            f"`model` has {size / 2**30:.1f} GiB of weights as exported, more than the 2 GiB that "
            f"{format} files hold. Use format='savedmodel', fewer groups or a smaller shared_dim."
        )


def _check_path(path: Path, format: str) -> None:  # noqa: A002
    if format == "savedmodel":
        if path.suffix.lower() in (".tflite", ".onnx"):
            raise ValueError(
                f"`path` must be a folder for format='savedmodel'. Received: path={str(path)!r}"
            )
        # A folder is replaced as a whole, so it must be one that export wrote.
        replaceable = path.is_dir() and (
            (path / "saved_model.pb").is_file() or not any(path.iterdir())
        )
        if path.exists() and not replaceable:
            raise ValueError(
                "`path` must be new, empty or an earlier SavedModel. "
                f"Received: path={str(path)!r}, which holds something else"
            )
    elif path.suffix.lower() != f".{format}" or path.is_dir():
        raise ValueError(
            f"`path` must be a file name ending in .{format} for format={format!r}. "
            f"Received: path={str(path)!r}"
        )
