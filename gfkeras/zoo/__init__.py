"""The zoo: models with weights, by name, and the import of foreign weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gfkeras.zoo.registry import artefact_path, preset_names, zoo_folder

if TYPE_CHECKING:
    from gfkeras.zoo.foreign import import_weights
    from gfkeras.zoo.loading import load
    from gfkeras.zoo.packing import pack

__all__ = ["artefact_path", "import_weights", "load", "pack", "preset_names", "zoo_folder"]


def __getattr__(name: str) -> Any:
    # What needs Keras is imported when it is first used.
    if name == "import_weights":
        from gfkeras.zoo.foreign import import_weights

        return import_weights
    if name == "load":
        from gfkeras.zoo.loading import load

        return load
    if name == "pack":
        from gfkeras.zoo.packing import pack

        return pack
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
