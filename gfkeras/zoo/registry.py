"""Which models the folder `zoo/` holds."""

from __future__ import annotations

from pathlib import Path

from gfkeras.errors import unknown_name
from gfkeras.files import natural_key
from gfkeras.zoo.preset import MODEL_FILE, Preset

# What commands take where no model is named.
DEFAULT_PRESET = "h_groupface_mobilefacenet"


def zoo_folder() -> Path:
    """The folder with one folder per preset.

    In a wheel it is the package data `gfkeras/zoo_data`, in a checkout the folder
    `zoo/` beside the package.
    """
    package = Path(__file__).parents[1]
    installed = package / "zoo_data"
    return installed if installed.is_dir() else package.parent / "zoo"


def preset_names() -> list[str]:
    """The names of all presets, in natural order."""
    folder = zoo_folder()
    if not folder.is_dir():
        return []
    return sorted((entry.parent.name for entry in folder.glob(f"*/{MODEL_FILE}")), key=natural_key)


def read_preset(name: str) -> Preset:
    """The description of a preset.

    Raises:
        ValueError: for an unknown name, with the nearest one, and for a damaged description.
    """
    names = preset_names()
    if name not in names:
        raise unknown_name("preset", name, names)
    return Preset.read(zoo_folder() / name)


def presets() -> list[Preset]:
    """All presets, in natural order."""
    return [read_preset(name) for name in preset_names()]
