"""Packing of a trained model and its artefacts into a folder of the zoo."""

import shutil
from pathlib import Path
from typing import Any

import keras
import tomli_w

from gfkeras.cards import card_path, file_facts
from gfkeras.files import PathLike, replacing, sha256, write_text
from gfkeras.toml_errors import toml_values
from gfkeras.zoo.golden import Golden
from gfkeras.zoo.loading import architecture_of, load_preset
from gfkeras.zoo.registry import GOLDEN_FILE, MODEL_FILE, OWN_FORMAT, ExportVariant, Preset
from gfkeras.zoo.weights_file import save_half

WEIGHTS_FILE = "weights.safetensors"
# Precisions of the .tflite files that are bundled with a preset.
SHIPPED = ("fp32", "int8")
_TO_FILL_IN = {
    "summary": "",
    "licence": {"name": "", "commercial_use": False, "note": ""},
    "provenance": {"by": "", "note": ""},
    "training_data": {"name": "", "note": ""},
}


def pack(model: keras.Model, folder: PathLike) -> Preset:
    """Writes weights in half precision, golden embeddings and `model.toml`. Returns the preset.

    The model is a `GroupFace` or a backbone, and the folder `zoo/<name>`. If `model.toml` exists,
    [architecture] and [weights] are replaced, and [[exports]] lose their files. Its results and
    thresholds are still for the earlier weights: measure them again. A new `model.toml` has empty
    tables to fill in. Raises ValueError if the model is of another class, if a weight is out of the
    range of float16, or if `model.toml` is damaged.
    """
    folder = Path(folder)
    path = folder / MODEL_FILE
    values: dict[str, Any] = toml_values(path) if path.is_file() else dict(_TO_FILL_IN)
    values["architecture"] = architecture_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save_half(model, folder / WEIGHTS_FILE)
    values["weights"] = {
        "file": WEIGHTS_FILE,
        "size_bytes": weights.stat().st_size,
        "sha256": sha256(weights),
        "format": OWN_FORMAT,
    }
    # The bundled artefacts are exports of the earlier weights. `ship_artefacts` adds new ones.
    exports = [ExportVariant.model_validate(export) for export in values.get("exports", [])]
    if exports:
        kept = {"format", "precision"}
        values["exports"] = [export.model_dump(include=kept) for export in exports]
    first = ("summary", "kind", "architecture", "input", "weights")
    ordered = {key: values[key] for key in (*first, *values) if key in values}
    write_text(path, tomli_w.dumps(ordered))
    for export in exports:
        if export.file is not None:
            (folder / export.file).unlink(missing_ok=True)
            card_path(folder / export.file).unlink(missing_ok=True)
    preset = Preset.read(folder)
    # The golden embeddings come from the rounded weights, which users will load.
    Golden.of(load_preset(preset)).save(folder / GOLDEN_FILE)
    return preset


def ship_artefacts(preset: Preset, folder: PathLike) -> Preset:
    """Copies exported .tflite files next to a preset's weights, and adds them to `model.toml`.

    `folder` is the output folder of `gfkeras zoo export`. Only the precisions in `SHIPPED` are
    copied.
    """
    path = preset.folder / MODEL_FILE
    values = toml_values(path)
    # Move the list of artefacts to the end: people read the first tables of the file.
    values["exports"] = values.pop("exports", [])
    for export in values["exports"]:
        variant = ExportVariant.model_validate(export)
        if variant.format == "tflite" and variant.precision in SHIPPED:
            name = variant.file_name(preset.name)
            artefact = Path(folder) / name
            for file in (artefact, card_path(artefact)):
                with replacing(preset.folder / file.name) as temporary:
                    shutil.copyfile(file, temporary)
            export |= {"file": name, **file_facts(artefact)}
    write_text(path, tomli_w.dumps(values))
    return Preset.read(preset.folder)
