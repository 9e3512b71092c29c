"""Makes the reference values beside this file anew: `make oracles`.

tensorflow-addons needs TensorFlow 2.15, NumPy 1 and Python 3.11, and PyTorch is no dependency of
gfkeras: each gets an environment of its own under build/oracles/, which is kept for the next run.
A file appears under its name when it is whole. Equal values give equal bytes: after a run,
`git status` says whether anything changed.

Any Python from 3.11 on runs this; nothing but its standard library is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / "build" / "oracles"
WINDOWS = os.name == "nt"
# The same additions in the same order on every machine, and no remarks about the machine.
SETTINGS = {"CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "2"}


@dataclass(frozen=True)
class Oracle:
    """A library whose values are kept: `name`_values.py writes `name`.npz."""

    name: str
    requirements: tuple[str, ...]
    python: tuple[int, int] | None = None  # None: the one that runs this
    uv: bool = True  # pip alone where wheels may come from a place that only pip is told of


ORACLES = (
    Oracle(
        "tensorflow_addons",
        ("tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0", "numpy==1.26.4"),
        python=(3, 11),
    ),
    Oracle("torch", ("torch==2.13.0", "numpy==2.4.6"), uv=False),
)


def find_python(version: tuple[int, int] | None) -> str:
    """A Python of this version, tried and not only found: a shim on PATH may fail.

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
    """The uv on PATH or in .venv, if there is one."""
    inside = ROOT / ".venv" / ("Scripts" if WINDOWS else "bin")
    return shutil.which("uv") or shutil.which("uv", path=str(inside))


def environment(oracle: Oracle) -> Path:
    """The oracle's own Python, with its packages installed."""
    folder = ENVIRONMENTS / oracle.name
    python = folder / ("Scripts/python.exe" if WINDOWS else "bin/python")
    installed = folder / "requirements.txt"
    wanted = "\n".join(oracle.requirements) + "\n"
    if python.exists() and installed.exists() and installed.read_text() == wanted:
        return python
    base = find_python(oracle.python)
    say(f"installing {' '.join(oracle.requirements)}")
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installers = [pip]
    if oracle.uv and (uv := find_uv()):
        installers.insert(0, [uv, "pip", "install", "--quiet", "--python", python])
    for command in installers:
        last = command is installers[-1]
        if not subprocess.run([*command, *oracle.requirements], check=last).returncode:
            break
    installed.write_text(wanted)
    return python


def make(oracle: Oracle) -> None:
    """Computes the oracle's values in its environment."""
    python = environment(oracle)
    target = HERE / f"{oracle.name}.npz"
    whole = target.with_name(f".{target.name}.{os.getpid()}.npz")  # NumPy wants the ending
    before = target.read_bytes() if target.exists() else b""
    try:
        # -I: neither PYTHONPATH nor a user's own packages reach in.
        script = HERE / f"{oracle.name}_values.py"
        command = [python, "-I", "-W", "ignore", script, whole]
        subprocess.run(command, check=True, env={**os.environ, **SETTINGS})
        same = whole.read_bytes() == before
        whole.replace(target)
    finally:
        whole.unlink(missing_ok=True)
    change = "as before" if same else "new values"
    say(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes, {change}")


def say(line: str) -> None:
    """A line to whoever waits."""
    sys.stderr.write(f"== {line}\n")


def main() -> int:
    """Makes all, or says in a line why not."""
    try:
        for oracle in ORACLES:
            make(oracle)
    except LookupError as error:
        sys.stderr.write(f"make_oracles: {error}\n")
        return 1
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        sys.stderr.write(f"make_oracles: failed with status {error.returncode}: {command}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
