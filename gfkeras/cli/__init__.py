"""The command `gfkeras`: parsing and printing only.

A command that succeeds exits with 0. After an error it prints one line on stderr and exits with 2.
`GFKERAS_DEBUG=1` shows the traceback instead. Only the commands that need Keras import it, which
keeps `--help` and `--version` fast.
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
    """Returns the running command, quoted for a shell.

    For example `gfkeras evaluate face.tflite --data lfw --pairs pairs.txt`.
    """
    return utf8(shlex.join(["gfkeras", *_ARGUMENTS.get()]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    SIGTERM and SIGHUP end it as Ctrl-C does: a half-written file is removed, and finished files are
    kept.

    Args:
        arguments: the arguments without the program's name. By default, those of the process.
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
    # TensorFlow reads its environment variables at its first import, so they are set first.
    set_defaults()
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot encode is escaped instead of ending the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    import typer

    from gfkeras.cli.app import app

    given = list(sys.argv[1:] if arguments is None else arguments)
    _ARGUMENTS.set(tuple(given))

    # Typer can bundle its own copy of Click, whose UsageError differs from click.UsageError.
    usage_error: Any = typer.BadParameter.__mro__[2]
    try:
        _no_empty_argument(given)
        status = app(given, prog_name="gfkeras", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except (usage_error, ValueError, OSError, ImportError) as error:
        if os.environ.get("GFKERAS_DEBUG"):
            raise
        if isinstance(error, ModuleNotFoundError):
            error = missing_package(error)
        described = getattr(error, "format_message", error.__str__)()
        # One line without control characters: the message can quote a name of a file.
        message = printable(" ".join(described.split())) or type(error).__name__
        if isinstance(error, FileNotFoundError) and not _folder_is_there():
            message += " (the current folder has been removed)"
        print(f"gfkeras: error: {message}", file=sys.stderr)  # noqa: T201
        return 2
    if status == 128 + signal.SIGINT:
        # Typer can return this status for Ctrl-C instead of raising.
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


def _no_empty_argument(arguments: list[str]) -> None:
    """Refuses an empty argument, such as an unset variable of a shell gives.

    An empty path would name the current folder.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if not argument and before.startswith("--"):
            raise ValueError(f"expected a value for `{before}`. Received: an empty text")
        if not argument:
            raise ValueError("expected no empty argument. Received: ''")
        if option.startswith("--") and equals and not value:
            raise ValueError(f"expected a value for `{option}`. Received: an empty text")


def _folder_is_there() -> bool:
    try:
        return bool(os.getcwd())  # noqa: PTH109
    except FileNotFoundError:
        return False


class _TerminatedError(BaseException):
    """SIGTERM or SIGHUP arrived.

    Not an `Exception`, like KeyboardInterrupt, because `except Exception` must not catch it.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise in the main thread.

    Then `finally` blocks remove unfinished files.
    """
    owner = os.getpid()

    def terminate(number: int, frame: object) -> None:
        # A second signal ends the process without cleaning up. A forked worker inherits this
        # handler, but the files belong to its parent, so it ends at the first signal.
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != owner:
            os.kill(os.getpid(), number)
        raise _TerminatedError(number)

    before: dict[int, Any] = {}
    # Windows has no SIGHUP.
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        # `nohup` ignores SIGHUP, and that must stay.
        if number not in before and signal.getsignal(number) is not signal.SIG_IGN:
            # Outside the main thread, setting a handler raises ValueError.
            with contextlib.suppress(ValueError):
                before[number] = signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
