"""The zoo: models with weights, by name, and the import of foreign weights."""

from gfkeras.zoo.foreign import import_weights
from gfkeras.zoo.loading import load
from gfkeras.zoo.packing import pack
from gfkeras.zoo.registry import preset_names, zoo_folder

__all__ = ["import_weights", "load", "pack", "preset_names", "zoo_folder"]
