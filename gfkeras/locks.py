"""Locks between threads, and between processes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def file_lock(path: str | os.PathLike[str], wait: float = 0) -> Iterator[None]:
    """Holds the lock file `path` inside of the block: nobody else does, in any process or thread.

    The system frees the lock of a process that ends, however it ends, so that what a killed process
    leaves never blocks. Forked children do not keep it. The file is removed at the end.

    Args:
        path: made where it is not there, in a folder that is.
        wait: seconds to wait for whoever holds it.

    Raises:
        TimeoutError: somebody else holds it.
        OSError: where the folder cannot be written to, or its file system has no locks.
    """
    import filelock

    lock = filelock.FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=wait, poll_interval=0.02)
    except filelock.Timeout:
        raise TimeoutError("another process has it locked") from None
    try:
        yield
    finally:
        # While it is held: whoever opened it before finds out that it is gone and makes another.
        # Windows removes no file that somebody has open, and filelock does it there.
        if os.name == "posix" and lock.is_locked:
            with contextlib.suppress(OSError):
                Path(path).unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def only_writer(out: Path, path: Path) -> Iterator[None]:
    """Holds the lock file `path` of the folder `out`; ValueError where another process does."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path))
        except TimeoutError:
            raise ValueError(
                f"`out` is being written by another process. Received: out={str(out)!r}"
            ) from None
        yield


class SharedLock:
    """Many threads hold it `shared`, or one thread `alone`; who waits to be alone goes first.

    A thread that holds it must not take it again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = self._waiting = 0
        self._taken = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Inside of the block nobody is alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken and not self._waiting)
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Inside of the block nobody else has it."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._taken and not self._sharing)
                self._taken = True
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()
