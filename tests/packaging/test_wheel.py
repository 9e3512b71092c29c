"""The contents of the built wheel, and its use without a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = "Scripts" if os.name == "nt" else "bin"
PRESET = "h_groupface_mobilefacenet"
MOST_MEGABYTES = 500

# The base install has no Keras. The packages of the tests' environment come last on the path.
FORWARD_PASS = f"""
import sys
sys.path.append({sysconfig.get_path("purelib")!r})
import numpy as np, gfkeras
assert "site-packages" in gfkeras.__file__, gfkeras.__file__
backbone = gfkeras.backbones.MobileFaceNet(width=0.25)
model = gfkeras.GroupFace(backbone, embedding_dim=16, num_groups=4, shared_dim=None, mode="hard")
images = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
out = model(images)
print({{name: tuple(value.shape) for name, value in sorted(out.items())}})
"""

FACES = """
from gfkeras.data.synthetic import write_synthetic_folder
write_synthetic_folder("faces", 3, 3)
"""

EMBEDDER = f"""
import sys, numpy as np, gfkeras
from gfkeras.zoo.golden import Golden
from gfkeras.zoo.registry import zoo_folder
golden = Golden.load(zoo_folder() / "{PRESET}" / "golden.npz")
found = gfkeras.Embedder("{PRESET}")(golden.images)
assert golden.largest_error(found.embedding) < 1e-4, golden.largest_error(found.embedding)
assert not {{"keras", "tensorflow", "scipy", "sklearn"}} & set(sys.modules)
"""


def run(*command: str | Path, cwd: Path, status: int = 0, **settings: str) -> str:
    """Runs a command outside of the checkout, and returns its stdout.

    If the expected `status` is not 0, returns stderr.
    """
    # The command must reach neither the checkout nor the environment of the tests.
    hidden = ("PYTHON", "VIRTUAL_ENV", "UV_", "KERAS_", "GFKERAS_", "COV_", "PYTEST_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment | {"KERAS_BACKEND": "tensorflow"} | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == status, f"{command}\n{result.stdout}\n{result.stderr}"
    return (result.stderr if status else result.stdout).strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel from a copy, because later builds would include files of this one."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for folder in ("gfkeras", "zoo", "tests"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for file in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", source, cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """Returns the names of the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def files_below(folder: str) -> set[str]:
    """Returns the files of the checkout in a folder, relative to it."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    relative = (path.relative_to(ROOT / folder) for path in found)
    return {
        path.as_posix()
        for path in relative
        if not any(part == "__pycache__" or part.startswith(".") for part in path.parts)
    }


def test_holds_every_file_of_the_library(names):
    # Fails if setup.cfg does not list a new package or a new kind of data file.
    assert {f"gfkeras/{name}" for name in files_below("gfkeras")} - names == set()
    assert "gfkeras/py.typed" in names


def test_holds_the_zoo(names):
    in_wheel = {name for name in names if name.startswith("gfkeras/zoo_data/")}
    assert in_wheel == {f"gfkeras/zoo_data/{name}" for name in files_below("zoo")}


def test_holds_nothing_else(names):
    assert {name for name in names if not name.startswith(("gfkeras/", "gfkeras-"))} == set()


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    version = wheel.name.split("-")[1]
    assert f"\nVersion: {version}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    for extra in (
        "all", "datasets", "export", "jax", "milvus", "onnx", "plots", "search", "tensorflow",
        "test",
    ):  # fmt: skip
        assert f"\nProvides-Extra: {extra}\n" in metadata


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Makes a fresh environment with the wheel without extras. Yields its folder of programs."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    programs = folder / "venv" / BIN
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv:
        install = (uv, "pip", "install", "--quiet", "--compile-bytecode", "--python")
        run(*install, programs / "python", wheel, cwd=folder)
    else:
        run(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    yield programs
    # pytest keeps the folders of the last runs, and this one is large.
    shutil.rmtree(folder)


@pytest.mark.timeout(1200)
def test_installed_wheel_runs(wheel, environment, tmp_path):
    version = wheel.name.split("-")[1]
    assert version in run(environment / "gfkeras", "--version", cwd=tmp_path)
    shapes = run(environment / "python", "-c", FORWARD_PASS, cwd=tmp_path).splitlines()[-1]
    assert shapes == str(
        {
            "embedding": (2, 16),
            "group_feature": (2, 256),
            "group_logits": (2, 4),
            "instance": (2, 16),
        }
    )
    zoo = 'from importlib.resources import files; print((files("gfkeras") / "zoo_data").is_dir())'
    assert run(environment / "python", "-c", zoo, cwd=tmp_path) == "True"


def test_the_base_install_is_small_and_has_no_keras(environment):
    for package in ("faiss", "jax", "keras", "onnxruntime", "sklearn", "tensorflow"):
        said = run(environment / "python", "-c", f"import {package}", cwd=environment, status=1)
        assert f"No module named '{package}'" in said
    files = [path for path in environment.parent.rglob("*") if path.is_file()]
    megabytes = sum(path.lstat().st_size for path in files) / 2**20
    assert megabytes < MOST_MEGABYTES, f"{megabytes:.0f} MB"


def test_the_base_install_does_the_commands_of_photos(environment, tmp_path):
    run(environment / "python", "-c", FACES, cwd=tmp_path)
    people = sorted((tmp_path / "faces").iterdir())
    first, second, *_ = sorted(people[0].iterdir())
    other = sorted(people[1].iterdir())[0]

    def gfkeras(*arguments: str | Path) -> dict:
        run(environment / "gfkeras", *arguments, "--json", "out.json", cwd=tmp_path)
        return json.loads((tmp_path / "out.json").read_text())

    assert PRESET in {preset["name"] for preset in gfkeras("zoo", "list")["presets"]}
    same = gfkeras("compare", first, second, "--aligned")["similarity"]
    assert same > gfkeras("compare", first, other, "--aligned")["similarity"]
    enrolled = gfkeras("enroll", "faces", "people.gfg", "--aligned", "--quiet")
    assert enrolled["photos"] == 9
    (face,) = gfkeras("search", first, "people.gfg", "--aligned")["faces"]
    assert face["matches"][0]["name"] == people[0].name
    clusters = gfkeras("cluster", "faces", "--out", "clusters", "--aligned", "--quiet")
    assert clusters["faces"] == 9
    evaluated = gfkeras("evaluate", PRESET, "--data", "faces", "--pairs", "all")
    assert evaluated["auc"] > 0.5
    run(environment / "python", "-c", EMBEDDER, cwd=tmp_path)

    # A command that needs an extra prints one line with the command that installs it.
    said = run(
        environment / "gfkeras", "train", "orl", "--data", "faces", "--out", "run",
        cwd=tmp_path, status=2,
    )  # fmt: skip
    assert said.splitlines()[-1].endswith("pip install 'gfkeras[tensorflow]'")
    assert len(said.splitlines()) == 1


@pytest.mark.timeout(1200)
def test_the_bundled_model_compares_photos_offline(environment, shared_data, tmp_path):
    people = {folder.name: sorted(folder.glob("*.jpg")) for folder in
              sorted((shared_data / "lfw_raw250").iterdir()) if folder.is_dir()}  # fmt: skip
    several = [photos for photos in people.values() if len(photos) > 1]
    same, other = several[0][:2], [several[0][0], several[1][0]]
    cache = str(tmp_path / "cache")
    offline = {"GFKERAS_OFFLINE": "1", "GFKERAS_CACHE": cache}
    for name, pair in (("same", same), ("other", other)):
        said = run(
            environment / "gfkeras", "compare", *pair, "--json", tmp_path / f"{name}.json",
            cwd=tmp_path, GFKERAS_DATA=str(shared_data), **offline,
        )  # fmt: skip
        assert "Decision" in said
    found = {n: json.loads((tmp_path / f"{n}.json").read_text()) for n in ("same", "other")}
    assert found["same"]["cosine"] > found["other"]["cosine"]
    assert found["same"]["faces"] == [1, 1]

    # Without the detector, the error is one line with the command that downloads it.
    said = run(environment / "gfkeras", "compare", *same, cwd=tmp_path, status=2, **offline)
    assert len(said.splitlines()) == 1
    assert "gfkeras zoo download face_detection_yunet --out DIR" in said
