"""Which presets the folder `zoo/` holds."""

from __future__ import annotations

from pathlib import Path

from gfkeras.files import natural_key

MODEL_FILE = "model.toml"


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
