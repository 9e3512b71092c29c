"""The card inside an artefact, for one that lost the card beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gfkeras.cards import tflite
from gfkeras.errors import require

# Of the metadata entry in TFLite and ONNX.
NAME = "gfkeras.card"
# TensorFlow keeps out of this folder of a SavedModel, and leaves it where it is.
SAVEDMODEL_FILE = Path("assets.extra") / "card.json"


def embed_card(path: Path, card: Mapping[str, Any]) -> None:
    """Puts a card into an artefact that was just written; what it computes stays the same.

    Args:
        path: a .tflite or .onnx file, or the folder of a SavedModel.
        card: without what only a finished file has, its size and hash.
    """
    text = json.dumps(card, ensure_ascii=False, separators=(",", ":"))
    if path.is_dir():
        file = path / SAVEDMODEL_FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    elif path.suffix.lower() == ".tflite":
        path.write_bytes(tflite.with_metadata(path.read_bytes(), NAME, text.encode()))
    else:
        onnx: Any = require("onnx", "export")
        entry = onnx.StringStringEntryProto(key=NAME, value=text)
        # Protocol buffers that follow one another are read as one.
        with path.open("ab") as stream:
            stream.write(onnx.ModelProto(metadata_props=[entry]).SerializeToString())


def embedded_card(path: Path) -> dict[str, Any] | None:
    """The card inside an artefact; None where there is none.

    Raises:
        ValueError: for an artefact that cannot be read, or whose card is damaged.
        ImportError: without the extra `export`.
    """
    text = _embedded(path)
    if text is None:
        return None
    try:
        card = json.loads(text)
        # What an embedder relies on.
        if not (isinstance(card["precision"], str) and "mode" in card and "format" in card):
            raise ValueError("precision, mode or format is not as expected")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The card inside {path} is damaged or not one: {error!r}. Export it again."
        ) from error
    return card


def _embedded(path: Path) -> str | bytes | None:
    if path.is_dir():
        file = path / SAVEDMODEL_FILE
        return file.read_bytes() if file.is_file() else None
    if path.suffix.lower() == ".tflite":
        kind = "a TFLite model"
        try:
            return tflite.metadata(path.read_bytes(), NAME)
        except ValueError as error:
            raise ValueError(_unreadable(path, kind, error)) from error
    onnx: Any = require("onnx", "export")
    try:
        model = onnx.load_model(path, load_external_data=False)
    # Of protobuf's own kind, which is an Exception.
    except Exception as error:
        raise ValueError(_unreadable(path, "an ONNX model", error)) from error
    # The last, for what is put in is put behind.
    found = [entry.value for entry in model.metadata_props if entry.key == NAME]
    return found[-1] if found else None


def _unreadable(path: Path, what: str, error: Exception) -> str:
    return f"{path} cannot be read as {what}; it is damaged or not one: {error}"
