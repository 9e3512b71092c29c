"""What the environment says about downloads."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pooch


def cache_folder() -> Path:
    """The folder of the cache: GFKERAS_CACHE, else the platform's usual one for gfkeras."""
    named = os.environ.get("GFKERAS_CACHE")
    return Path(named).expanduser() if named else Path(pooch.os_cache("gfkeras"))


def is_offline() -> bool:
    """Whether GFKERAS_OFFLINE forbids downloads."""
    return os.environ.get("GFKERAS_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def mirrored(url: str) -> str:
    """The URL with the base of GFKERAS_MIRROR in place of its scheme and host.

    Raises:
        ValueError: for a mirror, or a URL, that is not http or https.
    """
    parts = _http("url", url)
    mirror = os.environ.get("GFKERAS_MIRROR", "").strip()
    if not mirror:
        return url
    _http("GFKERAS_MIRROR", mirror)
    query = f"?{parts.query}" if parts.query else ""
    return mirror.replace("{host}", parts.netloc).rstrip("/") + parts.path + query


def _http(name: str, url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"`{name}` must start with http:// or https://. Received: {name}={url!r}")
    return parts
