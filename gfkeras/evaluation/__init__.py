"""Protocols and pictures: take embeddings or scores, give numbers, curves and a report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
