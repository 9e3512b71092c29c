"""What comes with a preset: files, thresholds, results and the sources of its weights."""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gfkeras.backend import load_keras
from gfkeras.downloads import fetch_file
from gfkeras.evaluation import COSINE, Thresholds
from gfkeras.files import CONFIG_FILE, parsed_json, settings_text, sha256
from gfkeras.toml_errors import read_toml
from gfkeras.zoo.registry import MODEL_FILE, FolderSources, Preset, preset_names, read_preset

# What the owner of a model folder may say of it, beside `config.json`.
SOURCES_FILE = "sources.toml"


def preset_named(source: object) -> Preset | None:
    """The preset that a user names as a model; None for any other model.

    A file or folder of that name goes first, as in `gfkeras.load`.
    """
    name = str(source)
    return read_preset(name) if name in preset_names() and not Path(name).exists() else None


def keras_source(source: Any) -> Any:
    """The Keras model of a preset; any other source of an `Embedder` as it is.

    For comparisons with the weights themselves, and for outputs that an artefact lacks.
    """
    preset = preset_named(source)
    if preset is None:
        return source
    load_keras()
    from gfkeras.zoo.loading import load_preset

    return load_preset(preset)


def weights_path(
    preset: Preset, folder: str | os.PathLike[str] | None = None, progress: bool | None = None
) -> Path:
    """The file of a preset's weights, downloaded into `folder` (the cache) if need be.

    Raises:
        ValueError: if a file that comes with gfkeras is missing or damaged.
        DownloadError: if it cannot be downloaded, or is another file.
    """
    weights = preset.weights
    if weights.url is not None:
        return fetch_file(weights.url, weights.sha256, folder=folder, progress=progress)
    return _checked(preset.folder / weights.file_name, weights.size_bytes, weights.sha256)


def artefact_path(preset: Preset | str, precision: str = "fp32") -> Path | None:
    """The .tflite file that comes with a preset and runs without Keras; None where there is none.

    Args:
        preset: the preset, or its name.
        precision: "fp32" or "int8".

    Raises:
        ValueError: for an unknown preset, and for a file that is missing or damaged.
    """
    preset = read_preset(preset) if isinstance(preset, str) else preset
    for export in preset.exports:
        if (export.format, export.precision) == ("tflite", precision) and export.file:
            return _checked(preset.folder / export.file, export.size_bytes, export.sha256)
    return None


def preset_thresholds(preset: Preset) -> Thresholds | None:
    """The thresholds of a preset; None where nobody measured any."""
    table = preset.thresholds
    if table is None:
        return None
    return Thresholds(COSINE, dict(table.at_far), table.impostor, table.origin)


def _checked(path: Path, size_bytes: int | None, digest: str | None) -> Path:
    """A file that comes with gfkeras, if it is the one that `model.toml` describes."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: this copy of gfkeras is not whole")
    size = path.stat().st_size
    if size != size_bytes or sha256(path) != digest:
        raise ValueError(
            f"{path} is damaged: {size} bytes that do not have the SHA-256 of {MODEL_FILE}"
        )
    return path


def preset_sources(preset: Preset) -> dict[str, Any]:
    """Name, weights, licence, provenance and training data, in what JSON has."""
    keys = {"weights", "licence", "provenance", "training_data"}
    return {"preset": preset.name, **_plain(preset, keys)}


def preset_results(preset: Preset) -> list[dict[str, Any]]:
    """The figures of a preset, in what JSON has."""
    return [_plain(result) for result in preset.results]


def folder_sources(folder: Path) -> dict[str, Any]:
    """Name and weights of a model folder, and what its `sources.toml` says."""
    weights = parsed_json(settings_text(folder / CONFIG_FILE))["weights"]
    found: dict[str, Any] = {"folder": folder.resolve().name, "weights": weights}
    path = folder / SOURCES_FILE
    if path.is_file():
        found |= _plain(read_toml(path, FolderSources, "sources file"))
    return found


def _plain(table: BaseModel, keys: set[str] | None = None) -> dict[str, Any]:
    """Without what nobody filled in."""
    return _filled(table.model_dump(mode="json", include=keys, exclude_none=True))


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    kept = {k: _filled(v) if isinstance(v, dict) else v for k, v in values.items()}
    return {key: value for key, value in kept.items() if value not in ("", {})}
