"""Cached downloads of files with a known SHA-256."""

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from gfkeras.errors import DownloadError
from gfkeras.files import sha256 as file_sha256


def cache_folder() -> Path:
    """Returns the cache folder: GFKERAS_CACHE, or the operating system's folder for gfkeras."""
    if named := os.environ.get("GFKERAS_CACHE"):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("gfkeras")


def is_offline() -> bool:
    """Whether GFKERAS_OFFLINE forbids downloads."""
    return os.environ.get("GFKERAS_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def mirrored(url: str) -> str:
    """Returns the URL with scheme and host replaced by GFKERAS_MIRROR, if it is set."""
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


def fetch_file(
    url: str,
    sha256: str,
    *,
    file_name: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Path:
    """Returns a file from the cache. Downloads it if it is not there yet.

    The file appears under its name only when it is complete and its SHA-256 is right. An
    interrupted download continues where it stopped, even if the process was killed. After closed
    connections and temporary server errors it tries again. If several processes need the same
    file, one downloads it and the others wait.

    Args:
        url: http or https URL. `GFKERAS_MIRROR` names another server.
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        file_name: name of the file. By default, the last part of the URL.
        folder: folder for the file. By default, the cache (see `cache_folder`).
        progress: whether to draw a progress bar on stderr. By default, if it is a terminal.

    Raises:
        ValueError: if the URL, hash or name is malformed.
        DownloadError: if the server refuses, the SHA-256 is wrong, the disk is full, the folder is
            not writable, or `GFKERAS_OFFLINE=1` is set. The message names the URL and the reason.

    Example:
        path = fetch_file("https://example.org/model.onnx", "9cc6e4a7…")
    """
    digest = str(sha256).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"`sha256` must be 64 hexadecimal digits. Received: sha256={sha256!r}")
    name = _checked_name(url, file_name)
    target = (cache_folder() if folder is None else Path(folder)) / name
    source = mirrored(url)
    # This comes before the lock, because a complete cache can be on a read-only disk.
    if target.is_file() and file_sha256(target) == digest:
        return target
    if is_offline():
        found = "has another SHA-256" if target.exists() else "is not there"
        raise DownloadError(
            source,
            f"GFKERAS_OFFLINE is set and {str(target)!r} {found}. Download the file on another "
            f"machine and put it there; its SHA-256 is {digest}",
        )
    import filelock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target.with_name(f".{name}.lock")):
            # Another process may have downloaded it while this one waited for the lock.
            if not (target.is_file() and file_sha256(target) == digest):
                _download(source, digest, target, progress)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            source,
            f"cannot be written to {str(target.parent)!r} ({error.strerror or error}); "
            "Set GFKERAS_CACHE to use another folder. The received part is kept",
        ) from error
    return target


def _download(url: str, digest: str, target: Path, progress: bool | None) -> None:
    """Downloads a file, checks it and moves it to `target`."""
    from gfkeras.downloads.transfer import discard, reporting, transfer

    # The digest in the name keeps a partial file from being continued with another version.
    partial = target.with_name(f".{target.name}.{digest[:12]}.partial")
    with reporting(target.name, progress) as report:
        joined = transfer(url, partial, report)
        if joined and file_sha256(partial) != digest:
            # Without an ETag the parts may come from two versions of the file. Start again.
            discard(partial)
            transfer(url, partial, report)
    received, size = file_sha256(partial), partial.stat().st_size
    if received != digest:
        discard(partial)
        raise DownloadError(
            url,
            f"wrong content: expected SHA-256 {digest}, received {received} ({size:,} bytes). "
            "The file was deleted",
        )
    partial.replace(target)
    discard(partial)


def _checked_name(url: str, file_name: str | None) -> str:
    name = unquote(urlsplit(url).path).rsplit("/", 1)[-1] if file_name is None else file_name
    if not name or name != Path(name).name or name in (".", ".."):
        raise ValueError(
            "`file_name` must be the name of a file, without a folder. "
            f"Received: file_name={file_name!r} for {url!r}"
        )
    return name
