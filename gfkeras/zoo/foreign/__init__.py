"""Import of face networks from other projects into the backbones of gfkeras.

Each reader turns one kind of file into a `ForeignNetwork`. It needs no other framework and runs no
code from the file. `matching.assign` then compares the network with a backbone, layer by layer.
"""

from gfkeras.zoo.foreign.importing import FORMATS, import_weights
from gfkeras.zoo.foreign.mxnet import read_mxnet_params
from gfkeras.zoo.foreign.torch_state import read_torch_state

__all__ = ["FORMATS", "import_weights", "read_mxnet_params", "read_torch_state"]
