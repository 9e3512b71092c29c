"""Adapters to the runtimes of models, from float32 images to named arrays."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
