"""Connection to Milvus, translation of its errors, and a collection as a block for search."""

import contextlib
import functools
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gfkeras.errors import require
from gfkeras.files import private_folder

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# Largest number of hits in one search of Milvus.
MOST_HITS = 16_384
# Number of hits per probe in the first request of `above`, and its growth per further request.
_FIRST, _GROWTH = 256, 4
# Number of cached rows, which avoids requesting them twice.
_KEPT = 65_536
_COLUMNS = ("name", "embedding", "photos")


class Source(Protocol):
    """The part of `MilvusIndex` that a block uses."""

    def search(self, probes: Floats, count: int) -> list[list[tuple[str, float]]]: ...

    def rows_of(self, keys: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]: ...

    def pages(self, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]: ...


class _Row(NamedTuple):
    embedding: Floats
    group_feature: Floats | None
    name: str
    photos: int


class MilvusBlock:
    """A whole collection as one block. Rows get numbers in the order in which they are read.

    Another process can remove people during the search. Their embeddings become NaN, which is not
    above any bound, so these people are not found.
    """

    def __init__(self, source: Source, widths: tuple[int, int | None], length: int):
        self._source, self._length = source, length
        self._keys: list[str] = []
        self._number_of: dict[str, int] = {}
        self._kept: dict[int, _Row] = {}
        embedding = np.full(widths[0], np.nan, np.float32)
        group = None if widths[1] is None else np.full(widths[1], np.nan, np.float32)
        self._gone = _Row(embedding, group, "", 0)

    def __len__(self) -> int:
        return self._length

    def nearest(self, probes: Floats, count: int) -> tuple[Floats, Integers]:
        if count > MOST_HITS:
            return self._nearest_of_all(probes, count)
        cosine = np.full((len(probes), count), -np.inf, np.float32)
        # A list can be shorter than `count` if somebody was removed in the meantime.
        numbers = np.full((len(probes), count), self._number(""), np.int64)
        for row, hits in enumerate(self._source.search(probes, count)):
            cosine[row, : len(hits)] = [hit[1] for hit in hits]
            numbers[row, : len(hits)] = [self._number(hit[0]) for hit in hits]
        return cosine, numbers

    def above(self, probes: Floats, least: Floats) -> Iterator[tuple[Integers, Integers, Floats]]:
        pending, count = np.arange(len(probes)), 0
        while len(pending) and count < len(self):
            count = min(len(self), max(_GROWTH * count, _FIRST))
            if count > MOST_HITS or len(pending) * count > len(self):
                # A hit takes Milvus as long as reading a row, so reading all rows is faster.
                yield from self._scan(probes, least, pending)
                return
            cosine, numbers = self.nearest(probes[pending], count)
            # The hits of the shorter list are repeated, because it can contain other rows with the
            # same cosine.
            yield np.repeat(pending, count), numbers.reshape(-1), cosine.reshape(-1)
            pending = pending[cosine[:, -1] >= least[pending]]

    def embedding(self, rows: Integers) -> Floats:
        return np.array([row.embedding for row in self._rows(rows)], np.float32)

    def group_feature(self, rows: Integers) -> Floats | None:
        if self._gone.group_feature is None:
            return None
        return np.array([row.group_feature for row in self._rows(rows)], np.float32)

    def sketches(self, projection: Floats) -> None:
        # Reading every group feature from a server would take longer than it saves.
        return None

    def names(self, rows: Integers) -> list[str]:
        return [row.name for row in self._rows(rows)]

    def photos(self, rows: Integers) -> npt.NDArray[np.int32]:
        return np.array([row.photos for row in self._rows(rows)], np.int32)

    def _scan(
        self, probes: Floats, least: Floats, pending: Integers
    ) -> Iterator[tuple[Integers, Integers, Floats]]:
        for page in self._source.pages(_COLUMNS):
            cosine = probes[pending] @ _embeddings(page).T
            who, where = np.nonzero(cosine >= least[pending, None])
            # The cache holds only this page. Earlier rows are not needed any more.
            self._kept = {}
            numbers = np.zeros(len(page), np.int64)
            for row in np.unique(where).tolist():
                numbers[row] = self._number(page[row]["key"])
                self._kept[int(numbers[row])] = _row(page[row])
            if len(who):
                yield pending[who], numbers[where], cosine[who, where]

    def _nearest_of_all(self, probes: Floats, count: int) -> tuple[Floats, Integers]:
        """Does the same as `nearest` for more hits than one search of Milvus allows.

        It reads all rows.
        """
        cosine = np.full((len(probes), count), -np.inf, np.float32)
        numbers = np.full((len(probes), count), self._number(""), np.int64)
        for page in self._source.pages(["embedding"]):
            some = probes @ _embeddings(page).T
            rows = np.array([self._number(row["key"]) for row in page])
            cosine = np.concatenate([cosine, some], axis=1)
            numbers = np.concatenate([numbers, np.broadcast_to(rows, some.shape)], axis=1)
            best = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
            cosine = np.take_along_axis(cosine, best, 1)
            numbers = np.take_along_axis(numbers, best, 1)
        return cosine, numbers

    def _number(self, key: str) -> int:
        number = self._number_of.setdefault(key, len(self._keys))
        if number == len(self._keys):
            self._keys.append(key)
        return number

    def _rows(self, rows: Integers) -> list[_Row]:
        wanted = list(dict.fromkeys(rows.tolist()))
        missing = [row for row in wanted if row not in self._kept]
        if len(self._kept) + len(missing) > _KEPT:
            self._kept, missing = {}, wanted
        keys = [self._keys[row] for row in missing if self._keys[row]]
        found = self._source.rows_of(keys, _COLUMNS)
        for number in missing:
            row = found.get(self._keys[number])
            self._kept[number] = self._gone if row is None else _row(row)
        return [self._kept[row] for row in rows.tolist()]


def _row(row: dict[str, Any]) -> _Row:
    group = row.get("group_feature")
    return _Row(
        np.array(row["embedding"], np.float32),
        None if group is None else np.array(group, np.float32),
        row["name"],
        row["photos"],
    )


def _embeddings(page: list[dict[str, Any]]) -> Floats:
    return np.array([row["embedding"] for row in page], np.float32)


# Seconds. Without a limit, pymilvus tries for minutes to reach a dead server. Loading a collection
# has no limit, because a large one takes long.
TIMEOUT = 60.0


def is_lite(location: str) -> bool:
    """Returns whether a location is a folder of Milvus Lite, not the URL of a cluster."""
    return "://" not in location


def connect(location: str, token: str | None) -> Any:
    """Returns a connected `pymilvus.MilvusClient`. Raises ValueError if that is not possible.

    Milvus Lite serves its folder from threads of this process, with one server for all clients. The
    folder is free again when the process ends, even if it is killed.
    """
    milvus = require("pymilvus", "milvus")
    _hush()
    if not is_lite(location):
        with reported(location, "opened"):
            return milvus.MilvusClient(uri=location, token=token or "", timeout=TIMEOUT)
    require("milvus_lite", "milvus")
    if token is not None:
        raise ValueError(
            f"`token` goes with the URL of a Milvus cluster. Received: location={location!r}"
        )
    if Path(location).is_file():
        # Milvus Lite used files before version 3.
        raise ValueError(f"{location} could not be opened: it is a file, not a Milvus Lite folder")
    # Faces are personal data, so only the owner can read the folder.
    if Path(location).parent.is_dir():
        private_folder(location)
    with _logged() as causes, reported(location, "opened", causes):
        return milvus.MilvusClient(uri=location)


def close(location: str, client: Any) -> None:
    """Closes a client. Milvus Lite stops serving the folder, and another process can open it."""
    client.close()
    if is_lite(location):
        server_manager = require("milvus_lite.server_manager", "milvus")
        server_manager.server_manager_instance.release_server(location)


@contextlib.contextmanager
def reported(location: str, what: str, causes: list[BaseException] | None = None) -> Iterator[None]:
    """Turns errors of Milvus into a ValueError with one line.

    `what` names the action, such as "read". `causes` are the original errors, if known.
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
            reason = "the server does not answer or refuses the token"
        # Removes user name and password from the URL.
        place = re.sub(r"(?<=//)[^/@]*@", "", location)
        raise ValueError(f"{place} could not be {what}: {reason}") from error


def _reason(error: BaseException) -> str:
    details = getattr(error, "details", None)
    text = details() if callable(details) else getattr(error, "message", None)
    lines = str(text or error).splitlines()
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _logged() -> Iterator[list[BaseException]]:
    """Collects the errors that keep Milvus Lite from starting.

    Milvus Lite writes them to its log and raises less specific ones.
    """
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
    """Stops pymilvus from writing the errors that it raises to stderr as well.

    With Milvus Lite, it would also warn at each read. Levels that the user has set stay.
    """
    for name, usual in (("pymilvus", logging.WARNING), ("pymilvus.milvus_client", logging.INFO)):
        logger = logging.getLogger(name)
        if logger.level == usual:
            logger.setLevel(logging.CRITICAL)
    # Python writes the errors of a logger without a handler to stderr.
    logging.getLogger("milvus_lite").addHandler(logging.NullHandler())
