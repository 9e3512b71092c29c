"""Fixtures every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GFKERAS_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set GFKERAS_DATA to its folder")
    return folder
