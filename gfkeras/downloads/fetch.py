"""Cached downloads of files whose SHA-256 is known."""

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from gfkeras.errors import DownloadError
from gfkeras.files import sha256 as file_sha256


def cache_folder() -> Path:
    """The folder of the cache: GFKERAS_CACHE, else the platform's usual one for gfkeras."""
    if named := os.environ.get("GFKERAS_CACHE"):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("gfkeras")


def is_offline() -> bool:
    """Whether GFKERAS_OFFLINE forbids downloads."""
    return os.environ.get("GFKERAS_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def mirrored(url: str) -> str:
    """The URL with the base of GFKERAS_MIRROR in place of its scheme and host."""
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
    """A public file in the cache, downloaded if it is not there yet.

    The file appears under its name only whole and with the right SHA-256. An interrupted transfer
    continues where it stopped, also after the process was killed. Closed connections and passing
    failures of the server are tried again. Of several processes that ask for one file, one
    downloads and the others wait.

    Args:
        url: http or https; `GFKERAS_MIRROR` names another place to get it from.
        sha256: 64 hexadecimal digits.
        file_name: what to call it; the URL's last part by default.
        folder: where to keep it; the cache (see `cache_folder`) by default.
        progress: whether to draw a bar on stderr; by default where that is a terminal.

    Raises:
        ValueError: for a malformed URL, hash or name.
        DownloadError: naming URL and reason: refused by the server, wrong SHA-256, no space, no
            place to write, or offline (`GFKERAS_OFFLINE=1`).

    Example:
        path = fetch_file("https://example.org/model.onnx", "9cc6e4a7…")
    """
    digest = str(sha256).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"`sha256` must be 64 hexadecimal digits. Received: sha256={sha256!r}")
    name = _checked_name(url, file_name)
    target = (cache_folder() if folder is None else Path(folder)) / name
    source = mirrored(url)
    # Before the lock: a complete cache can be on a read-only disk.
    if target.is_file() and file_sha256(target) == digest:
        return target
    if is_offline():
        found = "has another SHA-256" if target.exists() else "is not there"
        raise DownloadError(
            source,
            f"GFKERAS_OFFLINE is set and {str(target)!r} {found}. Download it elsewhere and put "
            f"it there; its SHA-256 is {digest}",
        )
    import filelock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target.with_name(f".{name}.lock")):
            # Another process may have been first.
            if not (target.is_file() and file_sha256(target) == digest):
                _download(source, digest, target, progress)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            source,
            f"cannot be written to {str(target.parent)!r} ({error.strerror or error}); "
            "GFKERAS_CACHE names another folder. What has arrived is kept",
        ) from error
    return target


def _download(url: str, digest: str, target: Path, progress: bool | None) -> None:
    """Transfers, verifies and puts in place."""
    from gfkeras.downloads.transfer import discard, reporting, transfer

    # The digest in the name: two versions of a file never continue each other.
    partial = target.with_name(f".{target.name}.{digest[:12]}.partial")
    with reporting(target.name, progress) as report:
        joined = transfer(url, partial, report)
        if joined and file_sha256(partial) != digest:
            # Parts of two versions may have met, where the server tells none apart.
            discard(partial)
            transfer(url, partial, report)
    received, size = file_sha256(partial), partial.stat().st_size
    if received != digest:
        discard(partial)
        raise DownloadError(
            url,
            f"wrong content, which was deleted: expected SHA-256 {digest}, "
            f"received {received} ({size:,} bytes)",
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
