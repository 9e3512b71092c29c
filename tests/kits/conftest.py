"""Artefacts for the kits, exported once, and processes that cannot import gfkeras."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import gfkeras
from gfkeras.zoo import DEFAULT_PRESET, registry
from gfkeras.zoo.golden import Golden
from gfkeras.zoo.registry import GOLDEN_FILE

EXPORT = Path(__file__).resolve().parents[2] / "export"
# Runs `import face_embedding` and scripts with only the packages that the kit requires.
DEVICE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
sys.path.insert(0, {folder!r})
"""

if keras.backend.backend() != "tensorflow":
    collect_ignore_glob = ["test_*.py"]


class Kit:
    """A kit's folder, run without gfkeras and other packages that it does not require."""

    def __init__(self, name: str):
        self.name = name
        self.folder = EXPORT / name
        self.absent = ["gfkeras", "keras", "tensorflow", "ai_edge_litert", "onnxruntime"]
        runtime = {"python-litert": "ai_edge_litert", "python-onnx": "onnxruntime"}.get(name)
        for module in [runtime] if runtime else ["keras", "tensorflow"]:
            self.absent.remove(module)

    def python(self, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Runs code with access to the kit and its requirements only."""
        device = DEVICE.format(absent=self.absent, folder=str(self.folder))
        return subprocess.run(
            [sys.executable, "-I", "-c", device + code, *map(str, arguments)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def command(
        self, *arguments: object, script: str = "face_embedding.py"
    ) -> subprocess.CompletedProcess[str]:
        """Runs one of the kit's commands."""
        path = str(self.folder / script)
        code = f"import runpy\nsys.argv[0] = {path!r}\nrunpy.run_path({path!r}, {{}}, '__main__')"
        return self.python(code, *arguments)


@pytest.fixture(scope="session")
def kit() -> Callable[[str], Kit]:
    return Kit


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden.load(registry.zoo_folder() / DEFAULT_PRESET / GOLDEN_FILE)


@pytest.fixture(scope="session")
def box(golden, tmp_path_factory) -> SimpleNamespace:
    """The bundled model in the format of each kit, and image files of the golden images."""
    from gfkeras.export import export_model

    folder = tmp_path_factory.mktemp("box")
    model = gfkeras.load(DEFAULT_PRESET)
    made = SimpleNamespace(folder=folder, tflite=folder / "face.tflite", onnx=folder / "face.onnx",
                           savedmodel=folder / "face")  # fmt: skip
    export_model(model, made.tflite)
    export_model(model, made.onnx, format="onnx")
    export_model(model, made.savedmodel, format="savedmodel")
    made.pictures = [folder / f"{index}.png" for index in range(len(golden.images))]
    for path, image in zip(made.pictures, golden.images, strict=True):
        Image.fromarray(image).save(path)
    return made


@pytest.fixture(scope="session")
def int8_inputs(box, golden) -> Path:
    """The bundled model in int8 with int8 input, quantised without fine-tuning, which is fast."""
    from gfkeras.export import Int8Settings
    from gfkeras.export.quantization import quantize
    from gfkeras.export.quantization.observing import observe

    seen = observe(box.tflite, golden.images.astype(np.float32))
    ranges = {name: histogram.range("min-max") for name, histogram in seen.items()}
    settings = Int8Settings(inputs="int8")
    path = box.folder / "int8.tflite"
    path.write_bytes(quantize(box.tflite, "int8", ranges, (), settings.inputs, settings.outputs))
    return path
