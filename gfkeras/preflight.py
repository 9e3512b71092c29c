"""A first look at a file in a process of its own, which may crash, hang or run out of memory.

Runtimes written in C++ check less of a file than it takes to open one from a stranger: a number in
it that was changed can end the process by a signal. What ends that way ends a child here, and the
caller gets a ValueError that names the file.
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
# Memory that a child may take beyond what its imports took: so much, and so many times the size of
# the file, since runtimes keep weights as they were stored and as they multiply them.
_MEMORY = 768 << 20
_TIMES = 8
# The child's exit status, beside 0 for a file that can be used.
_REFUSED, _UNKNOWN = 3, 4
_READY = b"ready\n"


def check_in_child(function: Callable[[str | None], None], path: Path, what: str) -> None:
    """Calls a function with a file in a child first, once for each state of the file.

    Args:
        function: of a module, which takes the path as text and raises ValueError, and imports
            what it needs when it is called with None.
        path: the file.
        what: what it should be, with its article, for the error.

    Raises:
        ValueError: that of the function, or where the child crashed, took more than a minute or
            more memory than the file's size allows.
    """
    state = path.stat()
    name = f"{function.__module__}:{function.__qualname__}"
    reason = _tried(name, str(path), state.st_mtime_ns, state.st_size)
    if reason and str(path) in reason:
        raise ValueError(reason)
    if reason:
        raise ValueError(f"{path} cannot be read as {what}; it is damaged or not one: {reason}")


@functools.lru_cache(maxsize=64)
def _tried(function: str, path: str, changed: int, size: int) -> str:
    """Why a file cannot be used; "" where it can."""
    if not sys.executable:
        # An interpreter inside of another program cannot start itself.
        return ""
    code = f"from {__name__} import _child; _child()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        # -P: a file in the current folder is not imported in place of a package.
        child = subprocess.run(
            [sys.executable, "-P", "-c", code, function, path, str(_MEMORY + _TIMES * size)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"opening it takes more than {_SECONDS} seconds"
    if child.returncode in (0, _UNKNOWN) or not child.stdout.startswith(_READY):
        # One that did not begin says nothing of the file.
        return ""
    if child.returncode == _REFUSED:
        with contextlib.suppress(ValueError):
            return str(json.loads(child.stdout.splitlines()[-1]))
    if child.returncode < 0:
        with contextlib.suppress(ValueError):
            return f"it ends the process that opens it ({signal.Signals(-child.returncode).name})"
    return f"the process that opens it ends with status {child.returncode}"


def _child() -> None:
    name, path, memory = sys.argv[1:4]
    try:
        run = pkgutil.resolve_name(name)
        run(None)
    except ImportError:
        # The caller finds out by itself what is missing.
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
    # No destructor of a runtime runs here, as none needs to in the caller before its end.
    os._exit(0)


def _limit(memory: int) -> None:
    try:
        import resource
    except ImportError:
        # Windows has no such limit for a process by itself.
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * os.sysconf("SC_PAGESIZE") + memory
        if most == resource.RLIM_INFINITY or limit < most:
            resource.setrlimit(resource.RLIMIT_AS, (limit, most))
