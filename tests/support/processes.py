"""Python in a process of its own: for what must be set before a backend starts."""

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
    """Python code running in a process of its own; made by `start_python`."""

    def __init__(
        self, code: str, arguments: tuple[str, ...], environment: dict[str, str], forked: bool
    ):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment}
        # What is imported before the fork is Keras on this process's backend.
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
        """Lines that it printed, as soon as there are enough; fails if it ends before."""
        lines: list[str] = []
        assert self._run.stdout is not None
        while not enough(lines):
            line = self._run.stdout.readline()
            assert line, self._run.communicate()[1][-3000:]
            lines.append(line.rstrip())
        return lines

    def killed_after(self, seconds: float) -> list[str]:
        """Kills it after some time (SIGKILL); the lines that it had printed until then."""
        time.sleep(seconds)
        self._run.kill()
        assert self._run.stdout is not None
        # What was printed lies in the pipe; `communicate` would lose what was buffered before.
        lines = self._run.stdout.read().splitlines(keepends=True)
        self._run.wait()
        return [line.rstrip() for line in lines if line.endswith("\n")]

    def wait(self, timeout: float | None = None) -> tuple[int, str, str]:
        """Exit status, and what it wrote to stdout and stderr."""
        try:
            out, error = self._run.communicate(timeout=timeout)
        except (subprocess.TimeoutExpired, TimeoutError):
            self.kill()
            raise
        return self._run.returncode, out, error

    def literals(self, timeout: float | None = None) -> list[Any]:
        """The literals of the lines that it printed, once it has ended well.

        Lines that are no literals, such as a library's own messages, are left out.
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
    """Starts code that may import `tests/support`, as `run_python`, and does not wait for it."""
    setup = TWO_CPUS if two_cpus else ""
    return Process(setup + code, arguments, environment, forked or two_cpus)


def run_python(
    code: str, *arguments: str, two_cpus: bool = False, forked: bool = False, **environment: str
) -> list[Any]:
    """Runs code that may import `tests/support`; the literals of the lines that it printed.

    With `two_cpus` TensorFlow has the devices CPU:0 and CPU:1, for two replicas. That code, and
    code for which `forked` is asked, finds TensorFlow imported already (see `forking`): not for
    code that measures memory or looks at what is imported. `lines_until` needs a fresh process.
    """
    process = start_python(code, *arguments, two_cpus=two_cpus, forked=forked, **environment)
    return process.literals()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nothing listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(code: str, *arguments: str, count: int = 2, **environment: str) -> list[Process]:
    """Starts the code once for each worker of a cluster on the loopback, told by TF_CONFIG."""
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
