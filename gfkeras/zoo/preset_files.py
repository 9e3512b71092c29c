"""Files, thresholds, results and origin of presets."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gfkeras.backend import load_keras
from gfkeras.downloads import fetch_file
from gfkeras.evaluation import COSINE, Thresholds
from gfkeras.files import CONFIG_FILE, PathLike, parsed_json, settings_text, sha256
from gfkeras.toml_errors import read_toml
from gfkeras.zoo.registry import MODEL_FILE, FolderSources, Preset, preset_names, read_preset

# Optional file in a model folder, next to `config.json`: licence and origin of the weights.
SOURCES_FILE = "sources.toml"


def preset_named(source: object) -> Preset | None:
    """Returns the preset of that name, or None for any other model.

    A file or folder wins over a preset of the same name, as in `gfkeras.load`.
    """
    name = str(source)
    return read_preset(name) if name in preset_names() and not Path(name).exists() else None


def keras_source(source: Any) -> Any:
    """Returns the Keras model of a preset. Any other source of an `Embedder` is returned unchanged.

    An `Embedder` opens a preset's bundled artefact. Use this for comparisons with the original
    weights, and for outputs that the artefact does not have.
    """
    preset = preset_named(source)
    if preset is None:
        return source
    load_keras()
    from gfkeras.zoo.loading import load_preset

    return load_preset(preset)


def weights_path(
    preset: Preset, folder: PathLike | None = None, progress: bool | None = None
) -> Path:
    """Returns the file of a preset's weights. Downloads it once, into `folder` or the cache.

    Raises ValueError if a bundled file is missing or damaged, and DownloadError.
    """
    weights = preset.weights
    if weights.url is not None:
        for each in weights.also:
            fetch_file(
                each.url, each.sha256, file_name=each.saved_as, folder=folder, progress=progress
            )
        return fetch_file(
            weights.url, weights.sha256, file_name=weights.file_name, folder=folder,
            progress=progress,
        )  # fmt: skip
    return _checked(preset.folder / weights.file_name, weights.size_bytes, weights.sha256)


def artefact_path(preset: Preset | str, precision: str = "fp32") -> Path | None:
    """Returns the bundled .tflite file of a preset or its name, which runs without Keras, or None.

    Raises ValueError if the preset is unknown, or if the file is missing or damaged.
    """
    preset = read_preset(preset) if isinstance(preset, str) else preset
    for export in preset.exports:
        if (export.format, export.precision) == ("tflite", precision) and export.file:
            return _checked(preset.folder / export.file, export.size_bytes, export.sha256)
    return None


def preset_thresholds(preset: Preset) -> Thresholds | None:
    """Returns the thresholds of a preset, or None if it has none."""
    table = preset.thresholds
    if table is None:
        return None
    return Thresholds(COSINE, dict(table.at_far), table.impostor, table.origin)


def _checked(path: Path, size_bytes: int | None, digest: str | None) -> Path:
    """Returns a bundled file after a comparison with size and SHA-256 in `model.toml`."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: the installation of gfkeras is incomplete")
    # Compare the size first: it finds a truncated file without reading it.
    size = path.stat().st_size
    if size != size_bytes or sha256(path) != digest:
        raise ValueError(
            f"{path} is damaged: its {size} bytes do not match the SHA-256 in {MODEL_FILE}"
        )
    return path


def preset_sources(preset: Preset) -> dict[str, Any]:
    """Returns name, weights, licence, provenance and training data as JSON values."""
    keys = {"weights", "licence", "provenance", "training_data"}
    return {"preset": preset.name, **_plain(preset, keys)}


def preset_results(preset: Preset) -> list[dict[str, Any]]:
    """Returns the results of a preset as JSON values."""
    return [_plain(result) for result in preset.results]


def folder_sources(folder: Path) -> dict[str, Any]:
    """Returns name and weights of a model folder, and the content of its `sources.toml`."""
    weights = parsed_json(settings_text(folder / CONFIG_FILE))["weights"]
    found: dict[str, Any] = {"folder": folder.resolve().name, "weights": weights}
    path = folder / SOURCES_FILE
    if path.is_file():
        found |= _plain(read_toml(path, FolderSources, "sources file"))
    return found


def _plain(table: BaseModel, keys: set[str] | None = None) -> dict[str, Any]:
    """Returns a table as JSON values, without empty entries."""
    return _filled(table.model_dump(mode="json", include=keys, exclude_none=True))


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    kept = {k: _filled(v) if isinstance(v, dict) else v for k, v in values.items()}
    return {key: value for key, value in kept.items() if value not in ("", {})}
