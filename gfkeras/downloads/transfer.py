"""Download of one file over HTTP, with continuation after an interruption."""

import contextlib
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from gfkeras.errors import DownloadError
from gfkeras.files import write_json
from gfkeras.version import __version__

# Called with (bytes received, total bytes). The total is None if the server does not state it.
Report = Callable[[int, int | None], None]
# A download fails after so many attempts in a row without new bytes.
ATTEMPTS = 5
# Seconds to wait before the second attempt. Each further wait is twice as long.
BACKOFF = 0.5
# Upper bound in seconds for the wait that a server asks for with Retry-After.
LONGEST_WAIT = 60.0
# Seconds to wait for a connection, and for the next bytes.
TIMEOUT = (10.0, 30.0)
_CHUNK = 1 << 18
_RETRIED = (429, 500, 502, 503, 504)
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def reporting(label: str, progress: bool | None) -> Iterator[Report]:
    """Gives a function that reports progress, and draws a bar on stderr if `progress` is true.

    None draws a bar if stderr is a terminal.
    """
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    if not progress:
        yield lambda done, total: None
        return
    from rich import progress as bars
    from rich.console import Console

    label_column = bars.TextColumn("{task.description}", markup=False)
    figures = (bars.DownloadColumn(), bars.TransferSpeedColumn(), bars.TimeRemainingColumn())
    columns = (label_column, bars.BarColumn(), *figures)
    with bars.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Busy(Exception):
    """A temporary server error, and the seconds to wait that the server asks for."""

    def __init__(self, response: requests.Response):
        super().__init__(f"the server answers {response.status_code} {response.reason}")
        self.wait = min(Retry().get_retry_after(response.raw) or 0.0, LONGEST_WAIT)


def transfer(url: str, partial: Path, report: Report) -> bool:
    """Downloads the rest of the file `partial`.

    `<partial>.json` next to it has the ETag or date of the content. If the file on the server has
    changed, the download starts again. After a failure, the received part is kept.

    Returns:
        Whether the file was joined from more than one transfer.

    Raises:
        DownloadError: if the server refuses, or after several attempts without new bytes.
        OSError: if `partial` cannot be written.
    """
    pieces = 1 if partial.exists() and partial.stat().st_size else 0
    failures = 0
    with requests.Session() as session:
        # Ask for uncompressed bytes: a compressed transfer cannot be continued.
        session.headers.update(
            {"Accept-Encoding": "identity", "User-Agent": f"gfkeras/{__version__}"}
        )
        while True:
            before, wait = _size(partial), 0.0
            try:
                pieces += 1
                if _receive(session, url, partial, report):
                    return pieces > 1
                reason = "the connection was closed early"
            except _Busy as busy:
                reason, wait = str(busy), busy.wait
            # Not every OSError: a write to the file raises OSError too and must end the download.
            except (requests.exceptions.RequestException, HTTPError) as error:
                reason = _plain(error)
            failures = 0 if _size(partial) > before else failures + 1
            if failures >= ATTEMPTS:
                kept = ". The received part is kept" if _size(partial) else ""
                raise DownloadError(url, f"{reason}; {ATTEMPTS} attempts in a row failed{kept}")
            _log.debug("%s: %s, trying again", url, reason)
            time.sleep(max(wait, BACKOFF * 2**failures))


def _receive(session: requests.Session, url: str, partial: Path, report: Report) -> bool:
    """Receives the rest of the file in one request. Returns False if it must be tried again."""
    have, headers = _size(partial), {}
    if have:
        headers["Range"] = f"bytes={have}-"
        validator = _validator(partial)
        if validator:
            headers["If-Range"] = validator
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if have and response.status_code == 416:
            # The server has no further bytes. The file is complete if the sizes agree.
            end = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
            if end is not None and int(end[1]) == have:
                return True
            discard(partial)
            return False
        if response.status_code in _RETRIED:
            raise _Busy(response)
        if response.status_code not in (200, 206):
            raise DownloadError(url, f"the server answers {response.status_code} {response.reason}")
        # 206 continues the file. 200 sends it from the beginning.
        if response.status_code == 206:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                discard(partial)
                return False
        else:
            have = 0
            _remember(partial, response)
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        _check_space(url, partial, None if total is None else total - have)
        # Unbuffered: if the process is killed, the file has all received bytes.
        with partial.open("ab" if have else "wb", buffering=0) as file:
            done = have
            report(done, total)
            # `read1` returns the bytes that have arrived. `read` would wait for a full chunk and
            # lose it if the connection breaks.
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                _write(file, chunk)
                done += len(chunk)
                report(done, total)
    return total is None or done == total


def discard(partial: Path) -> None:
    """Removes a partial file and its notes."""
    partial.unlink(missing_ok=True)
    _notes(partial).unlink(missing_ok=True)


def _write(file, chunk: bytes) -> None:  # type: ignore[no-untyped-def]
    """Writes a whole chunk. An unbuffered file can write less at a time on a nearly full disk."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _notes(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _remember(partial: Path, response: requests.Response) -> None:
    """Stores the strong ETag of the content, or its date if it has none."""
    etag = response.headers.get("ETag", "")
    # A weak ETag (W/"…") does not promise the same bytes, and If-Range must not use it.
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    write_json(_notes(partial), {"validator": validator})


def _validator(partial: Path) -> str:
    try:
        return str(json.loads(_notes(partial).read_text(encoding="utf-8"))["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _check_space(url: str, partial: Path, missing: int | None) -> None:
    free = shutil.disk_usage(partial.parent).free
    if missing is not None and missing > free:
        raise DownloadError(
            url,
            f"not enough space in {str(partial.parent)!r}: {missing:,} bytes needed, {free:,} free",
        )


def _plain(error: Exception) -> str:
    """Returns the innermost reason, which requests and urllib3 wrap in names of their objects."""
    cause: object = error
    while isinstance(cause, Exception) and (hasattr(cause, "reason") or cause.args):
        cause = getattr(cause, "reason", None) or cause.args[0]
    return str(cause).rsplit(">: ", 1)[-1] or type(error).__name__
