"""PyTorch in an environment of its own, for benchmarks that have it as a peer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "build" / "benchmarks" / "torch"
REQUIREMENTS = ("torch==2.13.0", "numpy==2.4.6", "pillow==13.0.0")


def torch_python() -> Path:
    """Its interpreter; made on first use and kept under build/.

    Raises:
        subprocess.CalledProcessError: where PyTorch cannot be installed.
    """
    python = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = FOLDER / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS) + "\n"
    if not (python.exists() and done.exists() and done.read_text() == wanted):
        print(f"installing {' '.join(REQUIREMENTS)}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        # pip alone: wheels may come from a place that only pip is told of.
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *REQUIREMENTS], check=True)
        done.write_text(wanted)
    return python
