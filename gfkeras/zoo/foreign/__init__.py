"""Weights of other people's face networks, in our backbones.

Each reader turns one kind of file into a `ForeignNetwork`, without the framework that wrote it
and without running anything in it; `matching.assign` walks it beside one of our backbones.
"""

from gfkeras.zoo.foreign.importing import FORMATS, import_weights
from gfkeras.zoo.foreign.mxnet import read_mxnet_params
from gfkeras.zoo.foreign.torch_state import read_torch_state

__all__ = ["FORMATS", "import_weights", "read_mxnet_params", "read_torch_state"]
