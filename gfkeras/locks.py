"""Locks between threads, and between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# Descriptors of the locks that this process holds.
_HELD: set[int] = set()


class LockHeldError(OSError):
    """A lock that another process, or another thread of this one, holds."""


@contextlib.contextmanager
def file_lock(path: str | os.PathLike[str], wait: float = 0) -> Iterator[None]:
    """Holds the lock file `path` inside of the block: nobody else does, in any process.

    The system frees the lock of a process that ends, however it ends, so that what a killed process
    leaves never blocks. The file is removed at the end. Its folder must be there.

    Args:
        path: made where it is not there, readable by its owner only.
        wait: seconds to wait for whoever holds it.

    Raises:
        LockHeldError: an OSError, naming the process that holds it.
        OSError: where the folder cannot be written to, or its file system has no locks.
    """
    path = Path(path)
    end = time.monotonic() + wait
    while (descriptor := _acquired(path)) is None:
        if time.monotonic() >= end:
            raise LockHeldError(errno.EAGAIN, f"another process{_holder(path)} has it locked")
        # Not in step with others who wait.
        time.sleep(random.uniform(0.002, 0.03))
    _HELD.add(descriptor)
    try:
        yield
    finally:
        # A child of this process may come here too; the lock is not its own.
        if descriptor in _HELD:
            _HELD.discard(descriptor)
            # While it is held: whoever opened it before finds out that it is gone.
            if os.name == "posix" and _is_open(path, descriptor):
                path.unlink(missing_ok=True)
            os.close(descriptor)
            if os.name != "posix":
                # Windows removes no file that somebody has open.
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def _acquired(path: Path) -> int | None:
    """The descriptor of the locked file; None where somebody else holds it or just removed it."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        if _locked(descriptor) and _is_open(path, descriptor):
            # For the message that others get; a full disk takes nothing from the lock.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _locked(descriptor: int) -> bool:
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            # Behind what is written there, so that others can read it.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


def _is_open(path: Path, descriptor: int) -> bool:
    """Whether the name still leads to the file that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        text = path.read_text("ascii")[:20]
    except (OSError, ValueError):
        return ""
    return f" ({text})" if text.isdecimal() else ""


def _forget_in_a_child() -> None:
    """A forked child must not keep its parent's locks alive."""
    while _HELD:
        with contextlib.suppress(OSError):
            os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_a_child)


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
