"""A progress bar for a download."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

# Called with the bytes there are so far, and how many there will be (None: the server won't say).
Report = Callable[[int, int | None], None]


@contextlib.contextmanager
def reporting(label: str, progress: bool | None) -> Iterator[Report]:
    """Gives a function to report to.

    Args:
        label: the file's name.
        progress: whether to draw a bar on stderr; None: where that is a terminal.
    """
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    if not progress:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
