"""Peak memory of opening and running a model, in bytes of resident memory.

    python _peak_child.py SOURCE THREADS

This script is a process of its own, because reused memory of an earlier model would not be counted.
LiteRT and ONNX Runtime run their files without gfkeras, like on a device.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def _litert(path: str, threads: int) -> Callable[[], None]:
    from ai_edge_litert.interpreter import Interpreter

    def run() -> None:
        interpreter = Interpreter(model_path=path, num_threads=threads)
        interpreter.allocate_tensors()
        given = interpreter.get_input_details()[0]
        for _ in range(3):
            interpreter.set_tensor(given["index"], np.ones(given["shape"], given["dtype"]))
            interpreter.invoke()

    return run


def _onnx(path: str, threads: int) -> Callable[[], None]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads

    def run() -> None:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        shape = [d if isinstance(d, int) else 1 for d in given.shape]
        for _ in range(3):
            session.run(None, {given.name: np.ones(shape, np.float32)})

    return run


def _embedder(source: str) -> Callable[[], None]:
    import tensorflow  # noqa: F401  # its memory is the runtime's, not the model's

    from gfkeras.data.images import face_size
    from gfkeras.inference import Embedder
    from gfkeras.inference.foreign_artefacts import ANY_RANGE

    def run() -> None:
        embedder = Embedder(source, batch_size=1, input_range=ANY_RANGE)
        size = face_size(embedder.image_size)
        for _ in range(3):
            embedder(np.ones((1, *size, 3), np.uint8))

    return run


def _resident(kind: str) -> int:
    """Returns this process's resident memory (VmRSS) or its peak (VmHWM), in bytes."""
    # ru_maxrss of getrusage would start with the memory of the parent process.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(kind)).split()[1])


def main() -> None:
    source, threads = sys.argv[1], int(sys.argv[2])
    suffix = Path(source).suffix.lower() if Path(source).is_file() else ""
    runtimes = {".tflite": _litert, ".onnx": _onnx}
    run = runtimes[suffix](source, threads) if suffix in runtimes else _embedder(source)
    # Resets the peak, which importing the runtime can have raised.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _resident("VmRSS")
    run()
    print(json.dumps(max(0, _resident("VmHWM") - before)))


if __name__ == "__main__":
    main()
