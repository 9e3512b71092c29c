"""Progress and JSON results of tasks."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from gfkeras.data.walk import reason_counts
from gfkeras.files import json_values
from gfkeras.safe_text import utf8

# Called with (stage, items done, number of items). The number is None if it is unknown.
Progress = Callable[[str, int, int | None], None]


def stage_progress(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    """Returns a callback (done, total) for one stage, or None without `progress`."""
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)


@dataclasses.dataclass(frozen=True)
class Result:
    """A result whose fields are the content of `--json`."""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name, as JSON values."""
        return json_values(dataclasses.asdict(self))


def skipped_json(skipped: Sequence[tuple[object, str]]) -> dict[str, Any]:
    """Returns the JSON keys for skipped files: their number, reasons, and counts of reasons."""
    return {
        "skipped": len(skipped),
        "skipped_files": [[utf8(str(path)), reason] for path, reason in skipped],
        "skipped_reasons": reason_counts(skipped),
    }
