"""Locks between threads and between processes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def file_lock(path: str | os.PathLike[str], wait: float = 0) -> Iterator[None]:
    """Holds an exclusive lock on the file `path` in the block, between processes and threads.

    The operating system frees the lock when the process ends, also if it is killed. Forked children
    do not keep it. The file is removed at the end.

    Args:
        path: the lock file in an existing folder. It is created if it does not exist.
        wait: seconds to wait if another process holds the lock.

    Raises:
        TimeoutError: if another process still holds the lock.
        OSError: if the folder is not writable or its file system has no locks.
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
        # Remove the file while the lock is held: a process that has opened it notices that it is
        # gone and creates a new one. Windows cannot remove an open file, so filelock does it there.
        if os.name == "posix" and lock.is_locked:
            with contextlib.suppress(OSError):
                Path(path).unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def only_writer(out: Path, path: Path) -> Iterator[None]:
    """Holds the lock file `path` of the folder `out`. Raises ValueError if it is locked."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path))
        except TimeoutError:
            raise ValueError(
                f"`out` is being written by another process. Received: out={str(out)!r}"
            ) from None
        yield


class SharedLock:
    """A lock that several threads hold as `shared`, or one thread as `alone`.

    A thread that waits to be `alone` goes first. A thread that holds the lock must not take it
    again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = self._waiting = 0
        self._taken = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Holds the lock together with other threads."""
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
        """Holds the lock exclusively."""
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
