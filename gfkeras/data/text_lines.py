"""The lines of a list that somebody wrote."""

from __future__ import annotations

import os
from pathlib import Path


def read_lines(path: str | os.PathLike[str], argument: str, expected: str) -> list[str]:
    """The lines of a UTF-8 text file.

    Args:
        path: the file.
        argument: what an error calls it.
        expected: what it must be, for an error.

    Raises:
        ValueError: for a file that cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`{argument}` must be {expected}. Received: {argument}={os.fspath(path)!r} ({error})"
        ) from error
