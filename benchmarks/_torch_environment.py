"""A separate environment with PyTorch, for benchmarks that compare with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "build" / "benchmarks" / "torch"
# Exact versions, so that the comparison does not change with each new release.
REQUIREMENTS = ("torch==2.13.0", "numpy==2.4.6", "pillow==13.0.0")


def torch_python() -> Path:
    """Returns the environment's interpreter. It is made on first use and kept under build/.

    Raises:
        subprocess.CalledProcessError: if PyTorch cannot be installed.
    """
    python = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = FOLDER / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS) + "\n"
    if not (python.exists() and done.exists() and done.read_text() == wanted):
        print(f"installing {' '.join(REQUIREMENTS)}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        # Use only pip: it may be configured with a package index that other tools do not know.
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *REQUIREMENTS], check=True)
        done.write_text(wanted)
    return python
