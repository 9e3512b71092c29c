"""Reading at any place of many files, from any thread."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

# Far below the usual limit of 1,024 open files; a set may have more shards than that.
_OPEN_FILES = 128


class _ReadOnlyFile:
    """An open file whose reads do not share a position, closed when nobody uses it any more."""

    def __init__(self, path: Path):
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), length, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)


class ShardFiles:
    """Files of which some are kept open.

    A read releases Python's lock while it waits for the disk, which a mapped file would not.

    Args:
        paths: the files.
    """

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self._open: OrderedDict[int, _ReadOnlyFile] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, file: int, offset: int, length: int) -> bytes:
        """`length` bytes of a file from `offset` on, or fewer at its end.

        Raises:
            OSError: if the file cannot be read.
        """
        with self._lock:
            found = self._open.get(file)
            if found is None:
                found = self._open[file] = _ReadOnlyFile(self.paths[file])
                if len(self._open) > _OPEN_FILES:
                    # Another thread may be reading it: it is closed when that is done.
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(file)
        return found.read(offset, length)

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["paths"])  # type: ignore[misc]
