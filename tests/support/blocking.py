"""Packages that cannot be imported, in a process of its own."""

_BLOCKING = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def without(*packages: str) -> str:
    """Python that makes these packages impossible to import from then on."""
    return _BLOCKING.format(packages=packages)


WITHOUT_TENSORFLOW = without("tensorflow")
# What the base install does not bring.
WITHOUT_KERAS = without("h5py", "jax", "keras", "safetensors", "tensorboard", "tensorflow")
