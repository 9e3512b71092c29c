"""A server, and downloads that wait little and keep to a cache of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from download_server import Server, running

from gfkeras.downloads import transfer


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as server:
        server.content = bytes(range(256)) * 1200
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(transfer, "BACKOFF", 0.01)
    for name in ("GFKERAS_OFFLINE", "GFKERAS_MIRROR", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GFKERAS_CACHE", str(tmp_path / "cache"))
