"""The zoo: pretrained models (presets) and the import of other weights."""

import lazy_loader

# The default model of commands and tasks. It is bundled with gfkeras.
DEFAULT_PRESET = "h_groupface_mobilefacenet"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
