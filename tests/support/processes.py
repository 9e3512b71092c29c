"""Python in a separate process, for settings that must come before a backend starts."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from forking import FORKS, ForkedRun

TWO_CPUS = """
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
"""


class Process:
    """Python code that runs in a separate process, started by `start_python`."""

    def __init__(
        self, code: str, arguments: tuple[str, ...], environment: dict[str, str], forked: bool
    ):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment}
        # The fork has imported Keras with the backend of this process.
        same = environment.get("KERAS_BACKEND") == os.environ.get("KERAS_BACKEND")
        if forked and FORKS and same and keras.backend.backend() == "tensorflow":
            self._run: Any = ForkedRun(code, arguments, environment)
        else:
            self._run = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )

    def kill(self) -> None:
        self._run.kill()
        self._run.communicate()

    def lines_until(self, enough: Callable[[list[str]], bool]) -> list[str]:
        """Returns the printed lines when there are enough. Fails if the process ends before."""
        lines: list[str] = []
        assert self._run.stdout is not None
        while not enough(lines):
            line = self._run.stdout.readline()
            assert line, self._run.communicate()[1][-3000:]
            lines.append(line.rstrip())
        return lines

    def killed_after(self, seconds: float) -> list[str]:
        """Kills the process after some time (SIGKILL), and returns the lines printed until then."""
        time.sleep(seconds)
        self._run.kill()
        assert self._run.stdout is not None
        # Read the pipe directly: `communicate` would lose lines that were buffered before.
        lines = self._run.stdout.read().splitlines(keepends=True)
        self._run.wait()
        return [line.rstrip() for line in lines if line.endswith("\n")]

    def wait(self, timeout: float | None = None) -> tuple[int, str, str]:
        """Returns exit status, stdout and stderr."""
        try:
            out, error = self._run.communicate(timeout=timeout)
        except (subprocess.TimeoutExpired, TimeoutError):
            self.kill()
            raise
        return self._run.returncode, out, error

    def literals(self, timeout: float | None = None) -> list[Any]:
        """Returns the literals of the printed lines after a successful end.

        Lines that are not literals, such as messages of libraries, are left out.
        """
        status, out, error = self.wait(timeout)
        assert status == 0, error[-3000:]
        values = []
        for line in out.splitlines():
            try:
                values.append(ast.literal_eval(line))
            except (SyntaxError, ValueError):
                continue
        return values


def start_python(
    code: str, *arguments: str, two_cpus: bool = False, forked: bool = False, **environment: str
) -> Process:
    """Starts code as `run_python` does, and does not wait for it."""
    setup = TWO_CPUS if two_cpus else ""
    return Process(setup + code, arguments, environment, forked or two_cpus)


def run_python(
    code: str, *arguments: str, two_cpus: bool = False, forked: bool = False, **environment: str
) -> list[Any]:
    """Runs code, which can import `tests/support`. Returns the literals of the printed lines.

    With `two_cpus`, TensorFlow has the devices CPU:0 and CPU:1, for two replicas. With `two_cpus`
    or `forked`, TensorFlow is imported already (see `forking`). Do not use them for code that
    measures memory or checks imports. `lines_until` needs a fresh process.
    """
    process = start_python(code, *arguments, two_cpus=two_cpus, forked=forked, **environment)
    return process.literals()


def free_ports(count: int) -> list[int]:
    """Returns free ports of the loopback interface."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(code: str, *arguments: str, count: int = 2, **environment: str) -> list[Process]:
    """Starts the code once for each worker of a cluster on the loopback, described by TF_CONFIG."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
    return [
        start_python(
            code,
            *arguments,
            forked=True,
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            ),
            **environment,
        )
        for index in range(count)
    ]
