"""Export of a model to a file that runs without gfkeras."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.backend import load_keras
from gfkeras.cards import read_card
from gfkeras.data import FaceDetector, ImageError, read_photo
from gfkeras.data.walk import left_out_note, photos_below
from gfkeras.errors import DownloadError, wrong
from gfkeras.files import PathLike, json_values, size_bytes
from gfkeras.tasks.card_content import model_facts
from gfkeras.tasks.reporting import Progress

if TYPE_CHECKING:
    from gfkeras.export import Int8Settings


@dataclass(frozen=True)
class Export:
    """An artefact that was written: a file, or the folder of a SavedModel."""

    path: Path
    format: str
    precision: str
    size_bytes: int
    card: dict[str, Any]
    # Sentences about anything that was left out or not checked.
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def int8(self) -> dict[str, Any] | None:
        """Measurements of the quantisation to int8, or None for another precision."""
        return self.card["int8"] if self.precision == "int8" else None

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras export --json`."""
        names = ("path", "format", "precision", "size_bytes", *(["int8"] if self.int8 else []))
        return {name: json_values(getattr(self, name)) for name in names}


def export(
    model: PathLike,
    out: PathLike,
    format: str = "tflite",  # noqa: A002
    precision: str = "fp32",
    *,
    calibration: PathLike | None = None,
    int8: Int8Settings | None = None,
    detector: PathLike | None = None,
    mode: str | None = None,
    batch_size: int | None = None,
    thresholds: PathLike | None = None,
    progress: Progress | None = None,
) -> Export:
    """Exports a model to a file that runs without gfkeras, and writes a .json card next to it.

    Args:
        model: a preset or a model folder.
        out: file to write. For "savedmodel": folder to write.
        format: "savedmodel", "tflite" or "onnx".
        precision: "fp32". TFLite and ONNX: also "fp16" and "int8". TFLite: also "int8-dynamic",
            "int8-weights", "int4-dynamic" and "int4-weights".
        calibration: for "int8": folder with at least 32 aligned faces.
        int8: for "int8" in TFLite: a `gfkeras.export.Int8Settings` with inputs, outputs and
            fine-tuning.
        detector: YuNet file that checks the calibration faces. By default, it is downloaded once.
        mode: assignment to groups, "soft" or "hard". By default, as trained.
        batch_size: fixed number of images per call. By default, any number.
        thresholds: thresholds file to write into the card. By default, the model's.
        progress: called with ("fine-tune", batches done, number of batches) during fine-tuning.

    Raises:
        ValueError: if arguments do not fit together, if the model cannot be read, or if calibration
            images are not aligned faces.
        ImportError: if a package is missing. The message names the extra to install.

    Example:
        artefact = export("runs/orl/last", "face.onnx", format="onnx")
        print(artefact.size_bytes)
    """
    load_keras()
    from gfkeras.export import Int8Settings, check_precision, export_model
    from gfkeras.zoo.loading import load

    check_precision(precision, format)
    settings = int8 or Int8Settings()
    _check_int8(precision, format, calibration, settings != Int8Settings())
    loaded = load(model)
    known, note = model_facts(str(model), loaded, mode, thresholds)
    notes = [note]
    faces: np.ndarray | None = None
    if calibration is not None:
        tuned = settings.qat is not None
        faces, more = calibration_faces(calibration, loaded.input_shape[1:], detector, tuned)
        notes += more
    path = export_model(
        loaded, out, format=format, precision=precision, mode=mode, batch_size=batch_size,
        calibration=faces, about=known,
        int8=_reporting(settings, progress) if precision == "int8" else None,
    )  # fmt: skip
    card = read_card(path) or {}
    kept = [note for note in notes if note is not None]
    return Export(path, format, precision, size_bytes(path), card, kept)


# For error messages: the argument, and the options of the command line that set it.
_INT8 = "`int8` (--inputs, --outputs, --integer-only, --max-latency-ratio, --qat)"


def _check_int8(precision: str, format: str, calibration: PathLike | None, changed: bool) -> None:  # noqa: A002
    """Raises ValueError if an argument does not fit the precision or the format."""
    if precision != "int8" and (calibration is not None or changed):
        raise ValueError(
            f"`calibration` (--calibration) and {_INT8} require `precision` (--precision) int8. "
            f"Received: precision={precision}"
        )
    if precision == "int8" and calibration is None:
        raise ValueError(
            "`precision` int8 requires `calibration` (--calibration DIR), a folder of aligned "
            "faces. Received: calibration=None"
        )
    if format == "onnx" and changed:
        raise ValueError(f"{_INT8} requires `format` (--format) tflite. Received: format={format}")


def _reporting(settings: Int8Settings, progress: Progress | None) -> Int8Settings:
    """Returns the settings, with a callback that reports the batches of fine-tuning."""
    if settings.qat is None or progress is None:
        return settings
    import keras

    epochs, report = settings.qat.epochs, progress

    class Reporting(keras.callbacks.Callback):
        """Reports each batch."""

        def __init__(self) -> None:
            super().__init__()
            self.done = 0

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.done += 1
            # Keras does not know the number of batches before the end of the first epoch.
            total = self.params["steps"]
            report("fine-tune", self.done, total and epochs * total)

    qat = dataclasses.replace(settings.qat, callbacks=(*settings.qat.callbacks, Reporting()))
    return dataclasses.replace(settings, qat=qat)


# Accepted share of calibration images without a face: the detector misses some faces.
_WITHOUT_FACE = 0.1


def calibration_faces(
    folder: PathLike,
    shape: tuple[int, ...],
    detector: PathLike | None = None,
    all_of_them: bool = False,
) -> tuple[np.ndarray, list[str]]:
    """Reads aligned faces from a folder and its subfolders.

    Args:
        folder: the folder.
        shape: image shape (H, W, 3) of the model.
        detector: YuNet file. By default, it is downloaded once.
        all_of_them: read all faces instead of a sample, evenly spread over the sorted names.

    Returns:
        The faces, (N, H, W, 3) uint8, and notes about files that were left out and checks that were
        not possible.

    Raises:
        ValueError: if the folder is missing, has fewer than 32 images, or has images of another
            size, damaged images, or too many images without a face.
    """
    from gfkeras.export import MAX_FACES, MIN_FACES

    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"`calibration` must be a folder of faces. Received: {str(root)!r}")
    found = photos_below(root)
    files = found.photos
    if len(files) < MIN_FACES:
        received = f"{str(root)!r} with {len(files)} images"
        raise wrong("calibration", f"have at least {MIN_FACES} faces", received)
    # More faces make the ranges hardly better and the calibration slower. Fine-tuning uses all.
    enough = np.linspace(0, len(files) - 1, min(MAX_FACES, len(files))).astype(int)
    chosen = files if all_of_them else [files[i] for i in enough]
    faces = np.stack([_read(path, shape) for path in chosen])
    notes = []
    if found.left_out:
        notes.append(f"Calibration: {left_out_note(found.left_out)}")
    unchecked = _check_faces(faces[enough] if all_of_them else faces, root, detector)
    return faces, notes if unchecked is None else [*notes, unchecked]


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        image = read_photo(path)
    except ImageError as error:
        raise ValueError(f"`calibration` must have only readable images: {error}") from error
    if image.shape != tuple(shape):
        raise ValueError(
            f"`calibration` must have aligned faces of {shape[0]}x{shape[1]}, which "
            "`gfkeras prepare PHOTOS DIR --align` makes. "
            f"Received: {path} of {image.shape[0]}x{image.shape[1]}"
        )
    return image


def _check_faces(images: np.ndarray, folder: Path, detector: PathLike | None) -> str | None:
    try:
        detect = FaceDetector(detector).detect
    except DownloadError as error:
        # Without a network the export still works: the check is only a safeguard.
        return f"The calibration images were not checked for faces: {error}"
    without = sum(not len(detect(image)) for image in images)
    if without > _WITHOUT_FACE * len(images):
        expected = "have faces: value ranges from other images do not fit faces"
        received = f"{str(folder)!r} with {without} of {len(images)} images without a face"
        raise wrong("calibration", expected, received)
    return None
