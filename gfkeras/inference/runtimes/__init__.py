"""One adapter per way to run a model: float32 images in, named arrays out."""

from gfkeras.inference.runtimes.keras_models import KerasModelRuntime, SavedModelRuntime
from gfkeras.inference.runtimes.litert import LiteRTRuntime
from gfkeras.inference.runtimes.onnx import OnnxRuntime
from gfkeras.inference.runtimes.runtime import Runtime

__all__ = ["KerasModelRuntime", "LiteRTRuntime", "OnnxRuntime", "Runtime", "SavedModelRuntime"]
