"""Trial opening of a file in a child process.

Runtimes written in C++ do not check files enough: one changed number in a file can crash the
process. Here the crash ends a child process, and the caller gets a ValueError that names the file.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_SECONDS = 60
# Memory limit of the child beyond its imports: _MEMORY bytes plus _TIMES the size of the file.
# Runtimes keep weights as stored and again in the layout that they multiply.
_MEMORY = 768 << 20
_TIMES = 8
# The child's exit status: 0 for a usable file, or one of these.
_REFUSED, _UNKNOWN = 3, 4
_READY = b"ready\n"


def check_in_child(function: Callable[[str | None], None], path: Path, what: str) -> None:
    """Calls a function with a file in a child process, once for each version of the file.

    Args:
        function: function of a module. It takes the path as text and raises ValueError. With None,
            it only imports the packages that it needs.
        path: the file.
        what: the expected kind of file, with its article, for the message.

    Raises:
        ValueError: the error of the function, or if the child crashed, took more than a minute, or
            needed too much memory for the size of the file.
    """
    state = path.stat()
    name = f"{function.__module__}:{function.__qualname__}"
    reason = _tried(name, str(path), state.st_mtime_ns, state.st_size)
    if reason and str(path) in reason:
        raise ValueError(reason)
    if reason:
        raise ValueError(
            f"{path} cannot be read as {what}. It is damaged or another kind of file: {reason}"
        )


@functools.lru_cache(maxsize=64)
def _tried(function: str, path: str, changed: int, size: int) -> str:
    """Returns the reason why a file is unusable, or "" for a usable file."""
    if not sys.executable:
        # A Python interpreter embedded in another program cannot start itself.
        return ""
    code = f"from {__name__} import _child; _child()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        # -P: a file in the current folder must not be imported instead of a package.
        child = subprocess.run(
            [sys.executable, "-P", "-c", code, function, path, str(_MEMORY + _TIMES * size)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"opening it takes more than {_SECONDS} seconds"
    if child.returncode in (0, _UNKNOWN) or not child.stdout.startswith(_READY):
        # A child that failed before it opened the file says nothing about the file.
        return ""
    if child.returncode == _REFUSED:
        with contextlib.suppress(ValueError):
            return str(json.loads(child.stdout.splitlines()[-1]))
    if child.returncode < 0:
        with contextlib.suppress(ValueError):
            return (
                f"it crashes the process that opens it ({signal.Signals(-child.returncode).name})"
            )
    return f"the process that opens it ends with status {child.returncode}"


def _child() -> None:
    name, path, memory = sys.argv[1:4]
    try:
        run = pkgutil.resolve_name(name)
        run(None)
    except ImportError:
        # The caller will get the same ImportError and report it.
        os._exit(_UNKNOWN)
    os.write(1, _READY)
    _limit(int(memory))
    try:
        run(path)
    except ImportError:
        os._exit(_UNKNOWN)
    except BaseException as error:  # noqa: BLE001  # the caller raises it
        text = str(error) if isinstance(error, (ValueError, OSError)) else repr(error)
        os.write(1, (json.dumps(text[:2000] or repr(error)) + "\n").encode())
        os._exit(_REFUSED)
    # Skip the destructors of the runtime: a crash in them would blame a usable file.
    os._exit(0)


def _limit(memory: int) -> None:
    try:
        import resource
    except ImportError:
        # Windows has no memory limit that a process can set for itself.
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * os.sysconf("SC_PAGESIZE") + memory
        if most == resource.RLIM_INFINITY or limit < most:
            resource.setrlimit(resource.RLIMIT_AS, (limit, most))
