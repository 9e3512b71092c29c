"""The zoo: models with weights, by name, and the import of foreign weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
