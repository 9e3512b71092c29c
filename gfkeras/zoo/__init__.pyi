from .foreign import import_weights as import_weights
from .loading import load as load
from .packing import pack as pack
from .preset_files import artefact_path as artefact_path
from .registry import preset_names as preset_names
from .registry import zoo_folder as zoo_folder

DEFAULT_PRESET: str
