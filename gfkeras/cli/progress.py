"""Progress bars of long tasks, with the estimated time left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import IO

_TITLES = {
    "list": "Listing",
    "convert": "Converting",
    "write": "Writing shards",
    "fine-tune": "Fine-tuning",
}


@contextlib.contextmanager
def stages(
    quiet: bool | None = None, file: IO[str] | None = None
) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Gives a function (stage, done, total) that moves one bar per stage, or None if `quiet`.

    By default, `quiet` is true unless stderr is a terminal. The bars go to `file`, or to stderr.
    """
    if not sys.stderr.isatty() if quiet is None else quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    tasks: dict[str, TaskID] = {}
    # The bars go to stderr, to keep stdout clean for pipes.
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining(),
        console=Console(stderr=True, file=file),
    )  # fmt: skip

    def move(stage: str, done: int, total: int | None) -> None:
        # The display starts with the first move. Before that, it would leave an empty line and
        # mix with the bar that Keras prints during training.
        bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(_TITLES.get(stage, stage), total=total)
        bars.update(tasks[stage], completed=done, total=total)

    try:
        yield move
    finally:
        if tasks:
            bars.stop()
