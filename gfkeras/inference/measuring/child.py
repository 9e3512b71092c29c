"""Running a file of this folder in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[3]


def child_json(script: str, *arguments: str) -> Any:
    """What the file prints on its last line, as JSON.

    It is started by its path, so that nothing of the library is imported unless it asks for it.

    Raises:
        RuntimeError: if it fails or dies; the last line of what it said is in the message.
    """
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name(script)), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    if run.returncode:
        said = run.stderr.strip().splitlines() or [f"it ended with {run.returncode}"]
        raise RuntimeError(said[-1])
    return json.loads(run.stdout.strip().splitlines()[-1])
