"""Layers of GroupFace and of its backbones."""

from gfkeras.layers.cpu_layers import BatchNormalization, Conv2D
from gfkeras.layers.group_decision import GroupDecisionNetwork
from gfkeras.layers.group_ensemble import GroupEnsemble
from gfkeras.layers.grouped_convolution import GroupedConv2D
from gfkeras.layers.input_normalization import InputNormalization
from gfkeras.layers.local_pooling import L2Pooling2D, LocalResponseNormalization
from gfkeras.layers.prelu import MaxPReLU, PReLU
from gfkeras.layers.replica import beside_centers, global_batch, global_mean, num_replicas

__all__ = [
    "BatchNormalization", "Conv2D", "GroupDecisionNetwork", "GroupEnsemble", "GroupedConv2D",
    "InputNormalization", "L2Pooling2D", "LocalResponseNormalization", "MaxPReLU", "PReLU",
    "beside_centers", "global_batch", "global_mean", "num_replicas",
]  # fmt: skip
