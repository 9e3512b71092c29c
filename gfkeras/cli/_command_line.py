"""The command that runs, as it can be typed again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextvars import ContextVar

_ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


def remember(arguments: Sequence[str] | None) -> None:
    """Keeps the arguments of `main`; those of the process for None."""
    _ARGUMENTS.set(tuple(sys.argv[1:] if arguments is None else arguments))


def command_line() -> str:
    """Such as `gfkeras evaluate face.tflite --data lfw --pairs pairs.txt`."""
    return shlex.join(["gfkeras", *_ARGUMENTS.get()])
