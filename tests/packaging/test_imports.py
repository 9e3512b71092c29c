"""Imports: light paths without Keras, commands without warnings, and names for type checkers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from blocking import WITHOUT_KERAS

ROOT = Path(__file__).resolve().parents[2]
PRESET = "h_groupface_mobilefacenet"

# Names that need Keras, by package.
WITH_KERAS = {
    "gfkeras.data": {"FaceBatches", "tf_dataset"},
    "gfkeras.inference": set(),
    "gfkeras.evaluation": set(),
    "gfkeras.zoo": {"import_weights", "load", "pack"},
}

LIGHT = f"""
import pkgutil
import gfkeras
import gfkeras.cli.app, gfkeras.data.prepare, gfkeras.data.statistics, gfkeras.data.synthetic
import gfkeras.evaluation.plots, gfkeras.inference.measuring, gfkeras.inference.source_faces
import gfkeras.zoo.preset_files, gfkeras.zoo.table

for package_name, heavy in {WITH_KERAS!r}.items():
    package = __import__(package_name, fromlist=["x"])
    for name in package.__all__:
        try:
            getattr(package, name)
        except ImportError:
            assert name in heavy, f"{{package_name}}.{{name}}"
        else:
            assert name not in heavy, f"remove {{package_name}}.{{name}}: it does not need Keras"
for folder in (gfkeras.cli, __import__("gfkeras.tasks", fromlist=["x"])):
    for info in pkgutil.iter_modules(folder.__path__, f"{{folder.__name__}}."):
        __import__(info.name)
try:
    gfkeras.GroupFace
except ImportError as error:
    print(error)
"""

STRICT = """
import numpy as np

from gfkeras import Embedder, GroupFace, __version__, load
from gfkeras.data import FaceAligner, read_image
from gfkeras.evaluation import Thresholds, tar_at_far
from gfkeras.inference import Embeddings
from gfkeras.zoo import preset_names


def cosine(a: str, b: str) -> float:
    found: Embeddings = Embedder("model.tflite")(np.stack([read_image(a), read_image(b)]))
    return float(found.embedding[0] @ found.embedding[1])


version: str = __version__
names: list[str] = preset_names()
size: str = Embedder("model.tflite").image_size
"""

MODULES = """
import json, sys
from gfkeras.cli import main
status = main(sys.argv[1:])
heavy = ("faiss", "h5py", "jax", "keras", "matplotlib", "onnx", "scipy", "sklearn", "tensorflow")
print(json.dumps([status, [name for name in heavy if name in sys.modules]]))
"""

MISSING = """
import sys
from gfkeras.cli import main
for command in (
    "compare none.jpg b.jpg", "embed none.jpg --out a.npz", "enroll none a.gallery",
    "search none.jpg a.gallery", "cluster none.jpg --out out", "gallery list none.gallery",
):
    assert main(command.split()) == 2
print([name for name in ("PIL", "ai_edge_litert", "cv2", "numpy") if name in sys.modules])
"""


def python(code: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "KERAS_"))}
    environment |= {"PYTHONPATH": str(ROOT)} | settings
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_light_paths_do_not_import_keras():
    run = python(WITHOUT_KERAS + LIGHT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == (
        "This needs the package 'keras', which is not installed. "
        "Install it with: pip install 'gfkeras[tensorflow]'"
    )
    run = python(WITHOUT_KERAS + "import gfkeras\ngfkeras.load", KERAS_BACKEND="jax")
    assert run.stderr.rstrip().endswith("pip install 'gfkeras[jax]'")


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    from gfkeras.data.synthetic import write_synthetic_folder

    folder = tmp_path_factory.mktemp("faces")
    write_synthetic_folder(folder, 2, 2)
    return folder


def test_compare_imports_what_it_uses_and_is_quiet(faces):
    photos = sorted(map(str, faces.rglob("*.png")))[:2]
    run = python(MODULES, "compare", *photos, "--aligned")
    assert run.stderr == ""
    assert json.loads(run.stdout.splitlines()[-1]) == [0, []]


def test_a_missing_photo_or_gallery_is_an_error_before_the_imports():
    run = python(MISSING)
    assert run.stdout == "[]\n", run.stderr
    assert run.stderr.count("none") == run.stderr.count("\n") == 6


def test_a_command_that_needs_tensorflow_is_quiet(faces):
    out = faces.with_name("artefacts")
    run = python(MODULES, "export", PRESET, "--format", "tflite", "--out", str(out / "a.tflite"))
    assert run.stderr == ""
    status, heavy = json.loads(run.stdout.splitlines()[-1])
    assert status == 0
    assert {"keras", "tensorflow"} <= set(heavy)


def test_a_recipe_is_read_quietly(tmp_path):
    wanted = ("train", "orl", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run"))
    run = python(MODULES, *wanted)
    assert run.stderr.startswith("gfkeras: error: `root`")
    assert run.stderr.count("\n") == 1
    status, heavy = json.loads(run.stdout.splitlines()[-1])
    assert status == 2
    assert "tensorflow" in heavy


def test_onednn_is_on_unless_the_user_says_otherwise():
    shown = "import os, gfkeras; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    assert python(shown).stdout == "1\n"
    assert python(shown, TF_ENABLE_ONEDNN_OPTS="0").stdout == "0\n"


def test_names_for_strict_type_checkers(tmp_path):
    (tmp_path / "user.py").write_text(STRICT)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent",
         "--cache-dir", tmp_path / "cache", "user.py"],
        cwd=tmp_path, env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    # One line is wrong on purpose. Its error shows that mypy sees the types and not `Any`.
    assert len(lines) == 2, run.stdout + run.stderr
    assert (
        'Incompatible types in assignment (expression has type "int | tuple[int, int]"' in lines[0]
    )
