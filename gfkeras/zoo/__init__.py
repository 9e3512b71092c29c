"""The zoo: models with weights, by name, and the import of foreign weights."""

from gfkeras.zoo.loading import load
from gfkeras.zoo.mxnet import import_mxnet, read_mxnet_params
from gfkeras.zoo.registry import preset_names, zoo_folder

__all__ = ["import_mxnet", "load", "preset_names", "read_mxnet_params", "zoo_folder"]
