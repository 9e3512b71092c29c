"""Transfer of one file over HTTP, continued after an interruption."""

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

# Called with the bytes there are so far, and how many there will be (None: the server won't say).
Report = Callable[[int, int | None], None]
# Attempts in a row that bring nothing new before a download fails.
ATTEMPTS = 5
# Seconds before the second attempt; each further wait is twice as long.
BACKOFF = 0.5
# The longest wait that a server's Retry-After is granted.
LONGEST_WAIT = 60.0
# Seconds to connect, and of silence while reading.
TIMEOUT = (10.0, 30.0)
_CHUNK = 1 << 18
_RETRIED = (429, 500, 502, 503, 504)
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def reporting(label: str, progress: bool | None) -> Iterator[Report]:
    """Gives a function to report to, which draws a bar on stderr if `progress` says so.

    The default, None, draws where stderr is a terminal.
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
    """A passing failure of the server, and the seconds to wait that it asks for."""

    def __init__(self, response: requests.Response):
        super().__init__(f"the server answers {response.status_code} {response.reason}")
        self.wait = min(Retry().get_retry_after(response.raw) or 0.0, LONGEST_WAIT)


def transfer(url: str, partial: Path, report: Report) -> bool:
    """Completes the file `partial`, which may hold the beginning already.

    Beside it, `<partial>.json` keeps what identifies the content to the server: a file that has
    changed since is not continued but begun again. When a transfer fails, what was received stays.

    Returns:
        Whether the file was put together from more than one transfer.

    Raises:
        DownloadError: when the server refuses, or attempt after attempt brings nothing.
        OSError: when `partial` cannot be written.
    """
    pieces = 1 if partial.exists() and partial.stat().st_size else 0
    failures = 0
    with requests.Session() as session:
        # The bytes as they are: a compressed transfer cannot be continued.
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
            # Not its OSErrors in general: writing the file raises those as well.
            except (requests.exceptions.RequestException, HTTPError) as error:
                reason = _plain(error)
            failures = 0 if _size(partial) > before else failures + 1
            if failures >= ATTEMPTS:
                raise DownloadError(
                    url, f"{reason}; {ATTEMPTS} attempts in a row failed. What has arrived is kept"
                )
            _log.debug("%s: %s, trying again", url, reason)
            time.sleep(max(wait, BACKOFF * 2**failures))


def _receive(session: requests.Session, url: str, partial: Path, report: Report) -> bool:
    """One transfer; False where it must be tried again."""
    have, headers = _size(partial), {}
    if have:
        headers["Range"] = f"bytes={have}-"
        validator = _validator(partial)
        if validator:
            headers["If-Range"] = validator
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if have and response.status_code == 416:
            # Nothing follows: either all is there, or what is there is of another file.
            end = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
            if end is not None and int(end[1]) == have:
                return True
            discard(partial)
            return False
        if response.status_code in _RETRIED:
            raise _Busy(response)
        if response.status_code not in (200, 206):
            raise DownloadError(url, f"the server answers {response.status_code} {response.reason}")
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
        # Unbuffered, so that a killed process leaves all that it received.
        with partial.open("ab" if have else "wb", buffering=0) as file:
            done = have
            report(done, total)
            # What has come so far, not a full chunk: of a cut connection no byte is lost.
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                _write(file, chunk)
                done += len(chunk)
                report(done, total)
    return total is None or done == total


def discard(partial: Path) -> None:
    """Removes a partial file and what is remembered of it."""
    partial.unlink(missing_ok=True)
    _notes(partial).unlink(missing_ok=True)


def _write(file, chunk: bytes) -> None:  # type: ignore[no-untyped-def]
    """Writes all of a chunk: a raw file may take less, just before the disk is full."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _notes(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _remember(partial: Path, response: requests.Response) -> None:
    """Keeps the content's strong ETag, else its date."""
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
            url, f"{missing:,} bytes are missing and {str(partial.parent)!r} has {free:,} left"
        )


def _plain(error: Exception) -> str:
    """The innermost reason; requests and urllib3 wrap it in the names of their objects."""
    cause: object = error
    while isinstance(cause, Exception) and (hasattr(cause, "reason") or cause.args):
        cause = getattr(cause, "reason", None) or cause.args[0]
    return str(cause).rsplit(">: ", 1)[-1] or type(error).__name__
