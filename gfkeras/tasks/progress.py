"""Progress callbacks of the tasks."""

from __future__ import annotations

from collections.abc import Callable

# Called with the stage, how much of it is done, and how much there is; None where unknown.
Progress = Callable[[str, int, int | None], None]


def stage_progress(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    """Returns a callback (done, total) for one stage; None where nobody listens."""
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)
