"""Files fetched once into a cache, their SHA-256 checked."""

from __future__ import annotations

import os
from pathlib import Path

import pooch


def fetch_file(url: str, sha256: str, file_name: str | None = None) -> Path:
    """The cached file of a URL, downloaded where it is not there yet.

    The file appears under its name only when its hash matches. The environment variable
    GFKERAS_CACHE names another cache folder than the user's own.

    Args:
        url: http or https.
        sha256: 64 hexadecimal digits.
        file_name: in the cache; the last part of the URL by default.

    Raises:
        ValueError: if what came has another hash.
        OSError: if the file cannot be downloaded or written.
    """
    folder = os.environ.get("GFKERAS_CACHE") or pooch.os_cache("gfkeras")
    return Path(
        pooch.retrieve(
            url, f"sha256:{sha256}", fname=file_name or url.rsplit("/", 1)[-1], path=folder
        )
    )
