"""Connecting to Milvus, and its errors as ours."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gfkeras.errors import require

# For anything but loading a collection: pymilvus would try for minutes to reach a dead server.
TIMEOUT = 60.0


def is_lite(location: str) -> bool:
    """Whether a location is a folder of Milvus Lite, not the URL of a cluster."""
    return "://" not in location


def connect(location: str, token: str | None) -> Any:
    """A `pymilvus.MilvusClient`.

    Milvus Lite serves its folder from threads of this process, one server for all clients here.
    When the process ends, however that is, the folder is free again.

    Raises:
        ValueError: for a folder that another process has open or that cannot be one of Milvus
            Lite, and for a server that cannot be reached or refuses the token.
        ImportError: naming the extra `milvus`.
    """
    milvus = require("pymilvus", "milvus")
    _hush()
    if not is_lite(location):
        with reported(location, "opened"):
            return milvus.MilvusClient(uri=location, token=token or "", timeout=TIMEOUT)
    require("milvus_lite", "milvus")
    if token is not None:
        raise ValueError("`token` goes with the URL of a Milvus cluster.")
    if Path(location).is_file():
        # Milvus Lite before version 3 had such files.
        raise ValueError(f"{location} could not be opened: it is a file, not a Milvus Lite folder")
    with _logged() as causes, reported(location, "opened", causes):
        return milvus.MilvusClient(uri=location)


def close(location: str, client: Any) -> None:
    """Closes a client; Milvus Lite stops serving the folder, which another process may open."""
    client.close()
    if is_lite(location):
        server_manager = require("milvus_lite.server_manager", "milvus")
        server_manager.server_manager_instance.release_server(location)


@contextlib.contextmanager
def reported(location: str, what: str, causes: list[BaseException] | None = None) -> Iterator[None]:
    """Errors of Milvus as a ValueError of one line.

    Args:
        location: what is talked to.
        what: what is done, such as "read".
        causes: the true ones, where Milvus' error does not tell them.
    """
    milvus, grpc = require("pymilvus", "milvus"), require("grpc", "milvus")
    try:
        yield
    except (milvus.MilvusException, grpc.RpcError) as error:
        cause = causes[-1] if causes else error
        reason = _reason(cause)
        if type(cause).__name__ == "DataDirLockedError":
            reason = "another process has it open (Milvus Lite serves one at a time)"
        elif "illegal connection params" in reason:
            reason = "nobody answers there, or the token is refused"
        place = re.sub(r"(?<=//)[^/@]*@", "", location)
        raise ValueError(f"{place} could not be {what}: {reason}") from error


def _reason(error: BaseException) -> str:
    details = getattr(error, "details", None)
    text = details() if callable(details) else getattr(error, "message", None)
    lines = str(text or error).splitlines()
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _logged() -> Iterator[list[BaseException]]:
    """The errors for which Milvus Lite does not start: it logs them and raises others."""
    causes: list[BaseException] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                causes.append(record.exc_info[1])

    logger, handler = logging.getLogger("milvus_lite.server_manager"), Handler()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield causes
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


@functools.cache
def _hush() -> None:
    """Keeps pymilvus from writing to stderr the errors that it raises, too.

    With Milvus Lite it would also warn at each reading. Levels that the user has set stay.
    """
    for name, usual in (("pymilvus", logging.WARNING), ("pymilvus.milvus_client", logging.INFO)):
        logger = logging.getLogger(name)
        if logger.level == usual:
            logger.setLevel(logging.CRITICAL)
    # Without a handler Python writes errors to stderr.
    logging.getLogger("milvus_lite").addHandler(logging.NullHandler())
