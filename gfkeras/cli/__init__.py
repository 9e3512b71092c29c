"""The command `gfkeras`: parsing and printing only.

Every command exits with 0, or with 2 after one line on stderr that says what is wrong;
`GFKERAS_DEBUG=1` shows where it came from. Keras is imported by the commands that need it,
so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from gfkeras.backend import missing_package, set_defaults
from gfkeras.safe_text import printable, utf8

__all__ = ["command_line", "main"]

_ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


def command_line() -> str:
    """The command that runs, as it can be typed again.

    Such as `gfkeras evaluate face.tflite --data lfw --pairs pairs.txt`.
    """
    return utf8(shlex.join(["gfkeras", *_ARGUMENTS.get()]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    SIGTERM and SIGHUP end it as Ctrl-C does: what is being written is given up, and what was
    written before stays whole.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    try:
        with _terminable():
            return _run(arguments)
    except _TerminatedError as end:
        print("gfkeras: terminated", file=sys.stderr)  # noqa: T201
        return 128 + end.number
    except KeyboardInterrupt:
        print("gfkeras: interrupted", file=sys.stderr)  # noqa: T201
        return 128 + signal.SIGINT


def _run(arguments: Sequence[str] | None) -> int:
    set_defaults()
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding does not have is escaped and ends no command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    import typer

    from gfkeras.cli.app import app

    _ARGUMENTS.set(tuple(sys.argv[1:] if arguments is None else arguments))

    # Typer may carry a Click of its own, so the base of its usage errors is not click's.
    usage_error: Any = typer.BadParameter.__mro__[2]
    try:
        status = app(
            None if arguments is None else list(arguments),
            prog_name="gfkeras",
            standalone_mode=False,
        )
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except (usage_error, ValueError, OSError, ImportError) as error:
        if os.environ.get("GFKERAS_DEBUG"):
            raise
        if isinstance(error, ModuleNotFoundError):
            error = missing_package(error)
        described = getattr(error, "format_message", error.__str__)()
        message = printable(" ".join(described.split())) or type(error).__name__
        if isinstance(error, FileNotFoundError) and not _folder_is_there():
            message += " (the current folder has been removed)"
        print(f"gfkeras: error: {message}", file=sys.stderr)  # noqa: T201
        return 2
    if status == 128 + signal.SIGINT:
        # Typer makes it of Ctrl-C, without a word.
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


def _folder_is_there() -> bool:
    try:
        return bool(os.getcwd())  # noqa: PTH109
    except FileNotFoundError:
        return False


class _TerminatedError(BaseException):
    """A signal that ends; like KeyboardInterrupt no Exception, so that nothing catches it."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Inside of the block SIGTERM and SIGHUP raise in the main thread.

    What is unfinished is removed on the way out.
    """
    owner = os.getpid()

    def terminate(number: int, frame: object) -> None:
        # A second one ends the process at once, and so does the first one a forked worker.
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != owner:
            os.kill(os.getpid(), number)
        raise _TerminatedError(number)

    before: dict[int, Any] = {}
    # Windows has no SIGHUP.
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        # nohup has it ignored. Signals belong to the main thread; elsewhere it is a ValueError.
        if number not in before and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):
                before[number] = signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
