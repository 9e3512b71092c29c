"""How many processors this process may really use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_MINE = Path("/proc/self/cgroup")


def usable_processors() -> int:
    """Those it may run on, and no more than a container's quota of time: at least 1.

    `os.cpu_count` counts the machine's, of which a container may be given two of sixty-four; a
    thread for each would make inference slower, not faster.
    """
    if hasattr(os, "process_cpu_count"):
        # Python 3.13's, which PYTHON_CPU_COUNT sets by hand.
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min([count, *_quotas(_GROUPS, _MINE)]))


def _quotas(groups: Path, mine: Path) -> Iterator[int]:
    """Whole processors that each control group around this process allows, of version 1 or 2."""
    for folder in _folders(groups, mine):
        try:
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        except (OSError, ValueError):
            try:
                quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
                period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
            except (OSError, ValueError):
                continue
        try:
            if int(quota) > 0:
                yield int(quota) // int(period)
        # "max" and -1 are no quota.
        except (ValueError, ZeroDivisionError):
            continue


def _folders(groups: Path, mine: Path) -> Iterator[Path]:
    """Where quotas may be: the process's groups and all above them.

    A container often sees its own group as the root, whatever /proc says.
    """
    yield from (groups, groups / "cpu")
    try:
        lines = mine.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = groups / controllers
        folder = base / path.strip("/")
        yield base
        while folder != base and base in folder.parents:
            yield folder
            folder = folder.parent
