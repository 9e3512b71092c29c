"""Packages that a process cannot import."""

_BLOCKING = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def without(*packages: str) -> str:
    """Returns Python code that makes these packages impossible to import."""
    return _BLOCKING.format(packages=packages)


WITHOUT_TENSORFLOW = without("tensorflow")
# Packages that the base install does not have.
WITHOUT_KERAS = without("h5py", "jax", "keras", "safetensors", "tensorboard", "tensorflow")
