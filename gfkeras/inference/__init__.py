"""Embeddings of faces from a model in any format, and their comparison and search."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
