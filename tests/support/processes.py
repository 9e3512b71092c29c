"""Python in a process of its own: for what must be set before a backend starts."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TWO_CPUS = """
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
"""


def run_python(code: str, *arguments: str, two_cpus: bool = False, **environment: str) -> list[Any]:
    """Runs code that may import `tests/support`; the literals of the lines that it printed.

    Lines that are no literals, such as a library's own messages, are left out. With
    `two_cpus` TensorFlow has the devices CPU:0 and CPU:1, for two replicas.
    """
    run = subprocess.run(
        [sys.executable, "-c", (TWO_CPUS if two_cpus else "") + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    values = []
    for line in run.stdout.splitlines():
        try:
            values.append(ast.literal_eval(line))
        except (SyntaxError, ValueError):
            continue
    return values
