"""Export of a Keras model to an artefact with its card."""

import math
from pathlib import Path
from typing import Any

import keras

from gfkeras.cards import card_path, embed_card, file_facts, write_card
from gfkeras.errors import one_of, require, wrong, wrong_value
from gfkeras.export.card_content import About, describe
from gfkeras.export.graph import export_form, exported_model, form_of
from gfkeras.export.preparation import DENSE_STEPS, STEPS
from gfkeras.export.quantization import Calibration, Int8Settings, int8_onnx, int8_tflite
from gfkeras.export.writers import quiet, write_onnx, write_tflite
from gfkeras.files import PathLike, replacing
from gfkeras.models import GroupFace
from gfkeras.models.properties import model_fingerprint

FORMATS = ("savedmodel", "tflite", "onnx")
PRECISIONS = (
    "fp32", "fp16", "int8", "int8-dynamic", "int8-weights", "int4-dynamic", "int4-weights",
)  # fmt: skip
_PRECISIONS = {"savedmodel": ("fp32",), "tflite": PRECISIONS, "onnx": ("fp32", "fp16", "int8")}
# TFLite and ONNX files end at 2 GiB. 16 MiB of them are reserved for the graph.
MAX_FILE_BYTES = 2**31 - 2**24


def export_model(
    model: keras.Model,
    path: PathLike,
    format: str = "tflite",  # noqa: A002
    precision: str = "fp32",
    mode: str | None = None,
    batch_size: int | None = None,
    calibration: Any = None,
    int8: Int8Settings | None = None,
    about: About | None = None,
) -> Path:
    """Writes an artefact that runs without gfkeras, and its card.

    The card is written to PATH.json and into the artefact. The artefact takes `images`, (B, H, W,
    3) float32 RGB, 0…255, and normalises them. It returns `embedding` (not L2-normalised) and, for
    a GroupFace, `group_feature` and `group_logits`. It computes in float32 for every dtype policy
    of the model. In hard mode, it computes only the chosen group's FC. The model does not change.
    Earlier files are replaced when the artefact and its card are complete. After an error, all
    files are as before.

    Args:
        model: a `GroupFace`, `FaceClassifier`, backbone, or any `keras.Model` from images to an
            embedding, on the TensorFlow backend.
        path: the file (.tflite, .onnx), or the folder of a SavedModel.
        format: "savedmodel", "tflite" or "onnx".
        precision: "fp32" for all formats, "fp16" and "int8" for TFLite and ONNX, the others for
            TFLite. "fp16" stores the weights in float16, and ONNX also computes in float16. "int8"
            has int8 weights and activations, with ranges measured on `calibration`. "int8-weights"
            has int8 weights that are converted to float at run time. "int8-dynamic" also multiplies
            in int8 in pointwise convolutions and FCs, with a range per pixel measured at run time.
            "int4-weights" and "int4-dynamic" store most of these weights in four bits.
        mode: "soft" or "hard" for a GroupFace. The default is the model's mode. You can train in
            soft mode and export in hard mode.
        batch_size: fixed batch size, which some runtimes need (LiteRT.js). By default the artefact
            takes any batch size.
        calibration: for "int8", at least 32 aligned faces, (N, H, W, 3), 0…255.
        int8: further settings for "int8" of TFLite.
        about: thresholds, sources and results for the card.

    Raises:
        ValueError: if arguments do not fit together, or if the path holds something else.
        ImportError: without the extra `export`.
    """
    path = Path(path)
    check_precision(precision, format)
    _check_path(path, format)
    model = exported_model(model)
    if isinstance(model, GroupFace) and mode is None:
        mode = model.mode
    fingerprint = model_fingerprint(model, mode)
    known = (about or About()).to_json(fingerprint, precision)
    seen, ends = None, ("float32", "float32")
    if precision == "int8":
        int8 = int8 or Int8Settings()
        ends = (int8.inputs, int8.outputs)
        seen = Calibration.of(calibration, model.input_shape[1:])
    elif calibration is not None or int8 is not None:
        raise ValueError(
            f"`calibration` and `int8` are for precision='int8'. Received: precision={precision!r}"
        )
    if format == "onnx" and int8 not in (None, Int8Settings()):
        raise ValueError(
            f"Settings of `int8` are for format='tflite'. Received: format={format!r}, {int8}"
        )
    steps = DENSE_STEPS if precision.endswith("-dynamic") else STEPS
    with quiet():
        form = export_form(model, mode=mode, batch_size=batch_size, steps=steps)
    _check_size(form, format)
    tf: Any = require("tensorflow", "export")
    settings: dict[str, Any] = {"format": format, "precision": precision}
    settings |= {"mode": mode, "batch_size": batch_size}

    def write_float(prepared: keras.Model, file: Path) -> None:
        if format == "onnx":
            write_onnx(tf, form_of(prepared), file)
        else:
            write_tflite(tf, form_of(prepared, batch_size), file, "fp32")

    # The artefact is renamed before its card. If the process is killed in between, the old card
    # does not match the new artefact, and an Embedder refuses it with a clear message.
    with replacing(card_path(path)) as card, replacing(path) as written:
        with quiet():
            if format == "savedmodel":
                tf.saved_model.save(form, str(written), signatures={"serving_default": form.serve})
            elif seen is not None:
                if format == "tflite":
                    made = int8_tflite(model, seen, write_float, mode, int8 or Int8Settings())
                else:
                    made = int8_onnx(model, seen, write_float, mode, batch_size)
                written.write_bytes(made.content)
                settings["int8"] = made.to_json()
            elif format == "tflite":
                settings |= write_tflite(tf, form, written, precision)
            else:
                write_onnx(tf, form, written, precision)
        description = describe(form, model, settings, ends, fingerprint, known)
        embed_card(written, description)
        write_card(card, description | file_facts(written))
    return path


def check_precision(precision: str, format: str) -> None:  # noqa: A002
    """Raises ValueError if the precision is unknown or this format does not have it."""
    one_of("format", format, FORMATS)
    one_of("precision", precision, PRECISIONS)
    if precision not in _PRECISIONS[format]:
        holding = [f"format={each!r}" for each in _PRECISIONS if precision in _PRECISIONS[each]]
        raise ValueError(
            f"`precision` {precision!r} is for {' or '.join(holding)}; {format!r} has "
            f"{', '.join(_PRECISIONS[format])}. "
            f"Received: precision={precision!r}, format={format!r}"
        )


def _check_size(form: Any, format: str) -> None:  # noqa: A002
    size = sum(4 * math.prod(weight.shape) for weight in form.weights)
    # FlatBuffers and Protocol Buffers both use signed 32-bit offsets.
    if format != "savedmodel" and size > MAX_FILE_BYTES:
        raise ValueError(
            f"`model` has {size / 2**30:.1f} GiB of weights as exported, more than the 2 GiB that "
            f"{format} files hold. Use format='savedmodel', fewer groups or a smaller shared_dim."
        )


def _check_path(path: Path, format: str) -> None:  # noqa: A002
    if format == "savedmodel":
        if path.suffix.lower() in (".tflite", ".onnx"):
            raise wrong_value("path", "be a folder for format='savedmodel'", str(path))
        # The whole folder is replaced. Requiring an earlier SavedModel protects other files in it.
        replaceable = path.is_dir() and (
            (path / "saved_model.pb").is_file() or not any(path.iterdir())
        )
        if path.exists() and not replaceable:
            received = f"path={str(path)!r}, which holds something else"
            raise wrong("path", "be new, empty or an earlier SavedModel", received)
    elif path.suffix.lower() != f".{format}" or path.is_dir():
        expected = f"be a file name ending in .{format} for format={format!r}"
        raise wrong_value("path", expected, str(path))
