from .keras_models import KerasModelRuntime as KerasModelRuntime
from .keras_models import SavedModelRuntime as SavedModelRuntime
from .runtime import Runtime as Runtime
from .tflite_and_onnx import LiteRTRuntime as LiteRTRuntime
from .tflite_and_onnx import OnnxRuntime as OnnxRuntime
