from .keras_models import KerasModelRuntime as KerasModelRuntime
from .keras_models import SavedModelRuntime as SavedModelRuntime
from .litert import LiteRTRuntime as LiteRTRuntime
from .onnx import OnnxRuntime as OnnxRuntime
from .runtime import Runtime as Runtime
