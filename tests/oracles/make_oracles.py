"""Makes the reference values beside this file anew: `make oracles`.

tensorflow-addons needs TensorFlow 2.15, NumPy 1 and Python 3.11, and PyTorch is no dependency of
gfkeras: each gets an environment of its own (`tests/support/own_environments.py`).
A file appears under its name when it is whole. Equal values give equal bytes: after a run,
`git status` says whether anything changed.

Any Python from 3.11 on runs this; nothing but its standard library is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from own_environments import ROOT, TENSORFLOW_ADDONS, TORCH, Environment, interpreter, say  # noqa: E402

# The same additions in the same order on every machine, and no remarks about the machine.
SETTINGS = {"CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "2"}


ORACLES = (TENSORFLOW_ADDONS, TORCH)


def make(oracle: Environment) -> None:
    """Computes the oracle's values in its environment."""
    python = interpreter(oracle)
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
