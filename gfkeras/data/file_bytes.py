"""Random access to the bytes of a large file, safe for threads and processes."""

import os
import threading
from pathlib import Path
from typing import Any, BinaryIO


class FileBytes:
    """A file that can be read at any offset.

    The file is opened at the first read, so the object can be pickled. On systems with `pread`,
    reads do not move a shared position, and threads and forked processes can read in parallel. A
    requested length is compared with the size of the file before memory is allocated, because
    lengths that were read from files cannot be trusted. The attribute `size` is the size of the
    file when the object was created. ValueError is raised for an unreadable file.
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
        """Returns `count` bytes from `offset` on. Raises ValueError if the file is shorter."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise ValueError(
                f"{self.path}, byte {offset}: expected {count} bytes. "
                f"Received: a file of {self.size} bytes"
            )
        data = self._read(offset, count)
        if len(data) != count:
            raise ValueError(
                f"{self.path}, byte {offset}: expected {count} bytes. Received: {len(data)}. "
                "The file became shorter while it was read"
            )
        return data

    def upto(self, offset: int, count: int) -> bytes:
        """Returns what `read` returns, or fewer bytes at the end of the file."""
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
        # One call returns at most 2 GiB, and can return less on a network file system.
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
        # `__init__` can fail before `_file` exists.
        if (file := self.__dict__.get("_file")) is not None:
            file.close()
