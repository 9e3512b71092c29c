"""Python code in a forked process that has imported TensorFlow but not used it.

The import takes seconds, most of the time of a test in a process of its own. The parent has not
claimed a device or started a backend, so the code can still configure TensorFlow.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

from grappler import WITHOUT_GRAPPLER, switch_grappler_off

PRELOADED = ("tensorflow", "keras", "gfkeras.models", "gfkeras.training", "gfkeras.zoo")
FORKS = "forkserver" in multiprocessing.get_all_start_methods()


class ForkedRun:
    """The part of `subprocess.Popen` that `processes.Process` needs. Output is read at the end."""

    def __init__(self, code: str, arguments: tuple[str, ...], environment: dict[str, str]):
        context = multiprocessing.get_context("forkserver")
        # Ignored if the server already runs. Each process of pytest has one.
        context.set_forkserver_preload(list(PRELOADED))
        self._folder = tempfile.TemporaryDirectory()
        folder = self._folder.name
        self._process = context.Process(target=_run, args=(code, arguments, environment, folder))
        self._process.start()

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Returns its output on stdout and stderr.

        Raises:
            TimeoutError: if it has not ended in time.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"the process has not ended within {timeout} s")
        with self._folder as folder:
            out, error = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
        return out, error

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode


def _run(code: str, arguments: tuple[str, ...], environment: dict[str, str], folder: str) -> None:
    """Sets up the new process like a fresh one, and runs the code."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        with Path(folder, name).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    if WITHOUT_GRAPPLER:
        switch_grappler_off()
    exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})
