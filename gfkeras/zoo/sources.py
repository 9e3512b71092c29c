"""Sources of the weights of a preset or a model folder, for the card of an artefact."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from gfkeras.files import CONFIG_FILE
from gfkeras.toml_errors import read_toml
from gfkeras.zoo.registry import Licence, Preset, Provenance, TrainingData

# What the owner of a model folder may say of it, beside `config.json`.
SOURCES_FILE = "sources.toml"


class FolderSources(BaseModel):
    """`sources.toml`: the tables of a preset's `model.toml` that say where weights come from."""

    model_config = ConfigDict(extra="forbid", strict=True)

    licence: Licence | None = None
    provenance: Provenance | None = None
    training_data: TrainingData | None = None


def preset_sources(preset: Preset) -> dict[str, Any]:
    """Name, weights, licence, provenance and training data, in what JSON has."""
    keys = {"weights", "licence", "provenance", "training_data"}
    return {"preset": preset.name, **_plain(preset, keys)}


def preset_results(preset: Preset) -> list[dict[str, Any]]:
    """The figures of a preset, in what JSON has."""
    return [_plain(result) for result in preset.results]


def folder_sources(folder: Path) -> dict[str, Any]:
    """Name and weights of a model folder, and what its `sources.toml` says."""
    weights = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["weights"]
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
