"""Results of tasks as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gfkeras.files import json_values


@dataclasses.dataclass(frozen=True)
class Result:
    """A result whose fields are the content of `--json`."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON can hold them."""
        return json_values(dataclasses.asdict(self))


def skipped_json(skipped: Sequence[tuple[object, str]]) -> dict[str, Any]:
    """The keys of files that were left out: how many, and each with its reason."""
    return {
        "skipped": len(skipped),
        "skipped_files": [[str(path), reason] for path, reason in skipped],
    }
