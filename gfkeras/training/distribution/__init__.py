"""Where a model trains: devices, replicas and workers."""

from gfkeras.training.distribution.cluster import Cluster
from gfkeras.training.distribution.distribution import Distribution
from gfkeras.training.distribution.jax_devices import JaxDevices
from gfkeras.training.distribution.opening import open_distribution
from gfkeras.training.distribution.tensorflow_replicas import TensorFlowReplicas

__all__ = ["Cluster", "Distribution", "JaxDevices", "TensorFlowReplicas", "open_distribution"]
