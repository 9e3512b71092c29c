"""A script that computes the reference values in this folder, for `make oracles`.

tensorflow-addons needs TensorFlow 2.15, NumPy 1 and Python 3.11, and gfkeras does not depend on
PyTorch. So each library gets its own environment (`tests/support/own_environments.py`). A file
appears under its name only when it is complete. Equal values give equal bytes, so `git status`
shows after a run whether anything changed.

The script runs on Python 3.11 or later, with only the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from own_environments import ROOT, TENSORFLOW_ADDONS, TORCH, Environment, interpreter, say  # noqa: E402

# Every machine must add numbers in the same order, and print no messages about its hardware.
SETTINGS = {"CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "2"}


ORACLES = (TENSORFLOW_ADDONS, TORCH)


def make(oracle: Environment) -> None:
    """Computes the values of an oracle in its environment."""
    python = interpreter(oracle)
    target = HERE / f"{oracle.name}.npz"
    whole = target.with_name(f".{target.name}.{os.getpid()}.npz")  # NumPy needs the ending.
    before = target.read_bytes() if target.exists() else b""
    try:
        # With -I, Python ignores PYTHONPATH and packages of the user.
        script = HERE / f"{oracle.name}_values.py"
        command = [python, "-I", "-W", "ignore", script, whole]
        subprocess.run(command, check=True, env={**os.environ, **SETTINGS})
        same = whole.read_bytes() == before
        whole.replace(target)
    finally:
        whole.unlink(missing_ok=True)
    change = "as before" if same else "new values"
    say(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes, {change}")


def main() -> int:
    """Computes all oracles, or prints one line with the reason why not."""
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
