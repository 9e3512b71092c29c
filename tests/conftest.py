"""Fixtures every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; absent, the test is skipped, or fails if it was promised."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GFKERAS_DATA", default))
    if not folder.is_dir():
        reason = f"real data not found at {folder}; set GFKERAS_DATA to its folder"
        if os.environ.get("GFKERAS_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
