"""Where a model trains: devices, replicas and workers."""

from gfkeras.training.distribution.cluster import Cluster
from gfkeras.training.distribution.distribution import Distribution
from gfkeras.training.distribution.opening import open_distribution

__all__ = ["Cluster", "Distribution", "open_distribution"]
