"""How many processors this process may really use."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_processors() -> int:
    """Those it may run on, and no more than a container's quota of time: at least 1.

    `os.cpu_count` counts the machine's, of which a container may be given two of sixty-four; a
    thread for each would make inference slower, not faster.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return max(1, min(count, _quota(_QUOTA)))


def _quota(file: Path) -> int:
    """Whole processors that a cgroup's "QUOTA PERIOD" allows; many where it says "max"."""
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return 1 << 16
