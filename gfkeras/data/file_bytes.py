"""Bytes of a large file at any offset, shared safely by threads and processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, BinaryIO


class FileBytes:
    """A file read at any offset; opened on first use, so that it can be pickled.

    Reads never move a shared position where the system has `pread`: threads and forked processes
    may read at once. A length is compared with the file's size before memory is asked for, since
    lengths that come out of files are not to be trusted. `size` is that of the file when it was
    first seen; an unreadable file raises ValueError.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        try:
            self.size = self.path.stat().st_size
        except OSError as error:
            raise ValueError(f"`path` must be a readable file. Received: {error}") from error
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset` on; ValueError where the file ends before."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise ValueError(
                f"{self.path}, byte {offset}: expected {count} bytes. "
                f"Received: a file of {self.size} bytes"
            )
        data = self._read(offset, count)
        if len(data) != count:
            raise ValueError(
                f"{self.path}, byte {offset}: expected {count} bytes. Received: {len(data)}; "
                "the file has become shorter while it is read"
            )
        return data

    def upto(self, offset: int, count: int) -> bytes:
        """As `read`, but fewer bytes at the end of the file."""
        return self.read(offset, max(0, min(count, self.size - offset)))

    def _read(self, offset: int, count: int) -> bytes:
        with self._lock:
            if self._file is None:
                self._file = self.path.open("rb", buffering=0)
            file = self._file
            if not hasattr(os, "pread"):
                file.seek(offset)
                return file.read(count)
        data = os.pread(file.fileno(), count, offset)
        # One call gives at most 2 GiB, and may give less over a network.
        while len(data) < count and (
            more := os.pread(file.fileno(), count - len(data), offset + len(data))
        ):
            data += more
        return data

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _file=None, _lock=threading.Lock())

    def __del__(self) -> None:
        # `__init__` may have failed before there was a file.
        if (file := self.__dict__.get("_file")) is not None:
            file.close()
