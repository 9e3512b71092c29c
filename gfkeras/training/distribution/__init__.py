"""Distribution of training over devices, replicas and workers."""

from gfkeras.training.distribution.distribution import Distribution
from gfkeras.training.distribution.jax_devices import JaxDevices
from gfkeras.training.distribution.open_distribution import open_distribution
from gfkeras.training.distribution.tensorflow_replicas import Cluster, TensorFlowReplicas

__all__ = ["Cluster", "Distribution", "JaxDevices", "TensorFlowReplicas", "open_distribution"]
