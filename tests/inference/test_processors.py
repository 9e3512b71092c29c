"""The number of usable processors, from affinity and a quota of processor time."""

from __future__ import annotations

import io
import os

import pytest
from joblib.externals.loky.backend import context

from gfkeras.processors import usable_processors


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_affinity():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_processors() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_processors() <= len(before)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_quotas(monkeypatch, files, expected):
    groups = {f"/sys/fs/cgroup/{name}": text for name, text in files.items()}
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(os.path, "exists", lambda path: path in groups)
    monkeypatch.setattr(context, "open", lambda path: io.StringIO(groups[path]), raising=False)
    assert usable_processors() == expected
