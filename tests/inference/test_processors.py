"""How many processors a process is given: affinity, and the quotas of its control groups."""

from __future__ import annotations

import os

import pytest

from gfkeras import processors
from gfkeras.processors import usable_processors


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes files of control groups, and of what /proc says, in place of the real ones."""
    root, mine = tmp_path / "cgroup", tmp_path / "mine"
    monkeypatch.setattr(processors, "_GROUPS", root)
    monkeypatch.setattr(processors, "_MINE", mine)

    def write(files: dict[str, str], listed: str = "") -> None:
        mine.write_text(listed)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)

    return write


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_affinity(groups):
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_processors() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert usable_processors() == len(before)


@pytest.mark.parametrize(
    ("files", "listed", "expected"),
    [
        ({}, "", 64),
        ({"cpu.max": "max 100000\n"}, "0::/\n", 64),
        ({"cpu.max": "200000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "250000 100000\n"}, "0::/elsewhere\n", 2),
        ({"cpu.max": "50000 100000\n"}, "0::/\n", 1),
        # The tightest of the groups around it counts.
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "900000 100000"}, "0::/a/b\n", 4),
        # Version 1, in a container and outside of one.
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "", 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "", 3),
        (
            {
                "cpu,cpuacct/d/x/cpu.cfs_quota_us": "500000\n",
                "cpu,cpuacct/d/x/cpu.cfs_period_us": "100000\n",
                "memory/d/x/cpu.max": "100000 100000",
            },
            "5:memory:/d/x\n4:cpu,cpuacct:/d/x\n",
            5,
        ),
        # What cannot be understood, or leads out of the folder, says nothing.
        ({"cpu.max": "", "a/cpu.max": "x y"}, "0::/a\nnonsense\n0::/../..\n", 64),
        ({"cpu.max": "100000 0"}, "", 64),
    ],
)
def test_quotas(groups, monkeypatch, files, listed, expected):
    groups(files, listed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 64, raising=False)
    assert usable_processors() == expected
