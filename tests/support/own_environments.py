"""Separate Python environments for packages that cannot be installed together with gfkeras.

They are kept under build/oracles/ for the next run. This module needs only the standard library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / "build" / "oracles"
WINDOWS = os.name == "nt"


@dataclass(frozen=True)
class Environment:
    """An environment: its name and its packages."""

    name: str
    requirements: tuple[str, ...]
    python: tuple[int, int] | None = None  # None: the Python that runs this module.
    uv: bool = True  # False: use pip alone, whose configuration can name other indexes.


TENSORFLOW_ADDONS = Environment(
    "tensorflow_addons",
    ("tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0", "numpy==1.26.4"),
    python=(3, 11),
)
TORCH = Environment(
    "torch",
    ("torch==2.13.0", "numpy==2.4.6", "safetensors==0.8.0", "onnx==1.23.2"),
    uv=False,
)


def find_python(version: tuple[int, int] | None) -> str:
    """Returns a working Python of this version. It is run once, because a shim on PATH can fail.

    Raises:
        LookupError: if there is none.
    """
    if version is None or sys.version_info[:2] == version:
        return sys.executable
    dotted = ".".join(map(str, version))
    probe = f"import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != {version})"
    for name in (f"python{dotted}", "python3", "python"):
        path = shutil.which(name)
        if path and not subprocess.run([path, "-c", probe], capture_output=True).returncode:
            return path
    if uv := find_uv():
        found = subprocess.run([uv, "python", "find", dotted], capture_output=True, text=True)
        if not found.returncode:
            return found.stdout.strip()
    raise LookupError(f"no Python {dotted} with venv found on PATH")


def find_uv() -> str | None:
    """Returns the uv on PATH or in .venv, or None."""
    inside = ROOT / ".venv" / ("Scripts" if WINDOWS else "bin")
    return shutil.which("uv") or shutil.which("uv", path=str(inside))


def interpreter(environment: Environment) -> Path:
    """Returns the Python of the environment, with its packages installed.

    Raises:
        LookupError: if there is no Python of its version.
        subprocess.CalledProcessError: if its packages cannot be installed.
    """
    folder = ENVIRONMENTS / environment.name
    python = folder / ("Scripts/python.exe" if WINDOWS else "bin/python")
    installed = folder / "requirements.txt"
    wanted = "\n".join(environment.requirements) + "\n"
    if python.exists() and installed.exists() and installed.read_text() == wanted:
        return python
    base = find_python(environment.python)
    say(f"installing {' '.join(environment.requirements)}")
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    # Compiling all modules takes as long as installing them, and few of them are imported.
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    installers = [pip]
    if environment.uv and (uv := find_uv()):
        installers.insert(0, [uv, "pip", "install", "--quiet", "--python", python])
    for command in installers:
        last = command is installers[-1]
        if not subprocess.run([*command, *environment.requirements], check=last).returncode:
            break
    installed.write_text(wanted)
    return python


def say(line: str) -> None:
    """Prints a progress line for the user."""
    sys.stderr.write(f"== {line}\n")
