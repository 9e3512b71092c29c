"""From what a user names to a runtime for it."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import keras

from gfkeras.cards.card import read_card
from gfkeras.inference.runtimes import (
    KerasModelRuntime,
    LiteRTRuntime,
    OnnxRuntime,
    Runtime,
    SavedModelRuntime,
)
from gfkeras.models import FaceClassifier
from gfkeras.saving import CONFIG_FILE, load_model

ACCEPTED = (
    "a keras.Model, a model folder (config.json), a SavedModel folder (saved_model.pb), "
    "a .tflite or .onnx file, or the name of a preset"
)


def open_model(
    source: keras.Model | str | os.PathLike[str], num_threads: int
) -> tuple[Runtime, dict[str, Any] | None]:
    """A runtime for a model in any form, and its card where an artefact has one.

    Raises:
        ValueError: for a path that is missing, damaged or of an unknown kind.
        ImportError: for a runtime whose package is not installed.
    """
    if isinstance(source, FaceClassifier):
        source = source.model
    if isinstance(source, keras.Model):
        return KerasModelRuntime(source), None
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"`model_or_path` must be {ACCEPTED}. Received: model_or_path={source!r}")
    path = Path(source)
    if path.is_dir():
        return _open_folder(path, source)
    suffix = path.suffix.lower()
    if path.is_file() and suffix in (".tflite", ".onnx"):
        card = read_card(path)
        kind = LiteRTRuntime if suffix == ".tflite" else OnnxRuntime
        return kind(path, num_threads), card
    if path.is_file():
        raise ValueError(
            f"`model_or_path` must be {ACCEPTED}. Received: {str(path)!r}, a file with the "
            f"suffix {suffix!r}"
        )
    # Names of presets may hold a dot (architecture.tag), but no folder.
    if path.name == str(source) and suffix not in (".tflite", ".onnx"):
        return _open_preset(path.name), None
    raise ValueError(
        f"`model_or_path` must be {ACCEPTED}. Received: {str(path)!r}, which does not exist"
    )


def _open_folder(path: Path, source: Any) -> tuple[Runtime, dict[str, Any] | None]:
    if (path / CONFIG_FILE).is_file():
        return KerasModelRuntime(load_model(path)), None
    if (path / "saved_model.pb").is_file():
        # Checked before anything of it is loaded.
        card = read_card(path)
        return SavedModelRuntime(path), card
    raise ValueError(
        f"`model_or_path` must be {ACCEPTED}. Received: {str(source)!r}, a folder with neither "
        f"{CONFIG_FILE} nor saved_model.pb"
    )


def _open_preset(name: str) -> Runtime:
    # What a name stands for is the zoo's business, and rooms side by side do not know
    # each other: the package's front door is asked, as a user would.
    front_door = importlib.import_module("gfkeras")
    try:
        return KerasModelRuntime(front_door.load(name))
    except ValueError as error:
        raise ValueError(f"`model_or_path` must be {ACCEPTED}. {error}") from error
