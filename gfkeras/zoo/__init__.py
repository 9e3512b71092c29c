"""The zoo: models with weights, by name, and the import of foreign weights."""

import lazy_loader

# The model that commands and tasks take where none is named; it comes with gfkeras.
DEFAULT_PRESET = "h_groupface_mobilefacenet"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
