"""What a training run is spread over: one device, or several."""

from gfkeras.training.distribution.distribution import Distribution
from gfkeras.training.distribution.jax_devices import JaxDevices

__all__ = ["Distribution", "JaxDevices"]
