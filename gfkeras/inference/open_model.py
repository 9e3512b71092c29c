"""Opening of a model by its name, path or object."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.backend import load_keras
from gfkeras.cards import card_path, embedded_card, read_card
from gfkeras.errors import wrong
from gfkeras.files import CONFIG_FILE, KERAS_FILES
from gfkeras.inference.foreign_artefacts import ANY_RANGE, InputRange, scaled, try_runtime
from gfkeras.inference.runtimes import LiteRTRuntime, OnnxRuntime, Runtime
from gfkeras.preflight import check_in_child

if TYPE_CHECKING:
    import keras

ACCEPTED = (
    "a keras.Model, a model folder (config.json), a SavedModel folder (saved_model.pb), "
    "a .tflite, .onnx, .keras or .h5 file, or the name of a preset"
)


def open_model(
    source: keras.Model | str | os.PathLike[str],
    num_threads: int,
    input_range: InputRange = None,
    trust: bool = False,
) -> tuple[Runtime, dict[str, Any] | None]:
    """Opens a model in any format. Returns a runtime and the artefact's card, or None."""
    if not isinstance(source, (str, os.PathLike)):
        return _open_object(source), None
    path = Path(source)
    suffix = path.suffix.lower()
    if path.is_file() and suffix in (".tflite", ".onnx"):
        # A card next to the file states its hash. A card inside it is read only after the check.
        card = read_card(path) if card_path(path).is_file() else None
        what = f"{'a TFLite' if suffix == '.tflite' else 'an ONNX'} model"
        check_in_child(try_runtime, path, what)
        card = card or embedded_card(path)
        kind = LiteRTRuntime if suffix == ".tflite" else OnnxRuntime
        return scaled(kind(path, num_threads), path, card, input_range), card
    if (path / "saved_model.pb").is_file() and not (path / CONFIG_FILE).is_file():
        return _open_saved_model(path, input_range, trust)
    if input_range not in (None, ANY_RANGE):
        raise ValueError(
            "`input_range` is for a .tflite or .onnx file, or a SavedModel, without a card. "
            f"Received: input_range={input_range!r} for {str(source)!r}"
        )
    if path.is_dir():
        return _open_folder(path, source)
    if path.is_file() and suffix in KERAS_FILES:
        load_keras()
        from gfkeras.zoo.loading import load

        return _open_object(load(path)), None
    if path.is_file():
        received = f"{str(path)!r}, a file with the suffix {suffix!r}"
        raise wrong("model_or_path", f"be {ACCEPTED}", received)
    # Names of presets can have a dot (architecture.tag), but no slash.
    if path.name == str(source) and suffix not in (".tflite", ".onnx"):
        return _open_preset(path.name, num_threads)
    raise wrong("model_or_path", f"be {ACCEPTED}", f"{str(path)!r}, which does not exist")


def _open_object(source: Any) -> Runtime:
    # If Keras is not imported, the object cannot be a Keras model. Importing Keras takes seconds.
    if "keras" in sys.modules:
        import keras

        from gfkeras.inference.runtimes import KerasModelRuntime
        from gfkeras.models import FaceClassifier

        if isinstance(source, FaceClassifier):
            source = source.model
        if isinstance(source, keras.Model):
            return KerasModelRuntime(source)
    raise ValueError(f"`model_or_path` must be {ACCEPTED}. Received: model_or_path={source!r}")


def _open_folder(path: Path, source: Any) -> tuple[Runtime, dict[str, Any] | None]:
    if (path / CONFIG_FILE).is_file():
        load_keras()
        from gfkeras.inference.runtimes import KerasModelRuntime
        from gfkeras.saving import load_model

        return KerasModelRuntime(load_model(path)), None
    received = f"{str(source)!r}, a folder with neither {CONFIG_FILE} nor saved_model.pb"
    raise wrong("model_or_path", f"be {ACCEPTED}", received)


def _open_saved_model(
    path: Path, input_range: InputRange, trust: bool
) -> tuple[Runtime, dict[str, Any] | None]:
    # The card's hashes are checked before TensorFlow loads anything from the folder.
    card = read_card(path)
    load_keras()
    from gfkeras.inference.runtimes import SavedModelRuntime

    return scaled(SavedModelRuntime(path, trust), path, card, input_range), card


def _open_preset(name: str, num_threads: int) -> tuple[Runtime, dict[str, Any] | None]:
    # The imports are here because reading presets needs Pydantic, but opening a file does not.
    from gfkeras.zoo.preset_files import artefact_path
    from gfkeras.zoo.registry import read_preset

    try:
        preset = read_preset(name, "model folder or preset")
        artefact = artefact_path(preset)
        if artefact is not None:
            return LiteRTRuntime(artefact, num_threads), read_card(artefact)
        load_keras()
        from gfkeras.inference.runtimes import KerasModelRuntime
        from gfkeras.zoo.loading import load_preset

        return KerasModelRuntime(load_preset(preset)), None
    except ValueError as error:
        raise ValueError(f"`model_or_path` must be {ACCEPTED}. {error}") from error
