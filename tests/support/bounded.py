"""A reader in a child process with limits of 1 GiB and some seconds."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

GIB = 1 << 30


def refusal(read: Callable[[Any], Any], path: Any, seconds: int = 30) -> str:
    """Returns the ValueError of `read(path)`. Fails after any other result or a hang."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * os.sysconf("SC_PAGESIZE") + GIB
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            # Python's own handler would wait until the C code returns.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            try:
                read(path)
                ended = ["no error", ""]
            except BaseException as error:  # noqa: BLE001
                kind = type(error).__name__
                if isinstance(error.__cause__, MemoryError):
                    kind = "MemoryError"
                ended = [kind, str(error)]
            os.write(writer, json.dumps(ended).encode()[:60_000])
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"ended with {os.waitstatus_to_exitcode(status)}"
    kind, message = json.loads(said)
    assert kind == "ValueError", f"{kind}: {message}"
    return message
