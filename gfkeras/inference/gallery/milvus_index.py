"""The index in Milvus: past one process and one machine, and on disk with every call."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import require
from gfkeras.inference.gallery.exact_search import above_by_growth
from gfkeras.inference.gallery.templates import Templates

COLLECTION = "gfkeras_faces"
_FORMAT = 1
# Milvus gives no more hits than that for one search.
_MOST_HITS = 16_384
# Rows sent or asked for in one call: a message of gRPC holds 64 MiB.
_BATCH = 1000
_LONGEST_NAME = 2048
# Seconds in which a server must answer when it is opened.
_TIMEOUT = 10
# More pings than Milvus Lite's server likes end in messages on stderr.
_GRPC = {"grpc.keepalive_time_ms": 3_600_000}

Floats = npt.NDArray[np.float32]


class MilvusIndex:
    """Templates in a Milvus collection with a FLAT index, which is exact.

    With Milvus Lite (`pip install 'gfkeras[milvus]'`) the location is a folder that one process
    has open at a time; with a cluster it is a URL. Both by the same code. When `put` or `remove`
    returns, the change is on disk: a process killed at any moment loses nothing of what was
    acknowledged. Of a call that was killed or failed in its middle, some people may be there.

    Args:
        location: a path ending in ".db", or a URL.
        token: of a cluster.
        storage: "float32", the only one here.
        metadata: kept with a new collection.

    Attributes:
        metadata: that of the collection.

    Raises:
        ValueError: for another storage, a database that another process has open, a server that
            cannot be reached, and a collection that is not ours.
        ImportError: naming the extra `milvus`.
    """

    def __init__(
        self, location: str, token: str | None, storage: str | None, metadata: Mapping[str, str]
    ):
        if storage not in (None, "float32"):
            raise ValueError(
                f"`storage` must be 'float32' in Milvus. Received: storage={storage!r}"
            )
        self.storage, self.location = "float32", location
        self.metadata = dict(metadata)
        self._milvus = require("pymilvus", "milvus")
        if "://" not in location:
            require("milvus_lite", "milvus")
        with _quiet(), self._errors("opened"):
            self._client = self._milvus.MilvusClient(
                uri=location, token=token or "", timeout=_TIMEOUT, grpc_options=_GRPC
            )
            self.widths: tuple[int, int | None] | None = None
            if self._client.has_collection(COLLECTION):
                self._describe(self._client.describe_collection(COLLECTION))
                self._client.load_collection(COLLECTION)

    def __len__(self) -> int:
        if self.widths is None:
            return 0
        with self._errors("read"):
            (row,) = self._client.query(COLLECTION, filter="", output_fields=["count(*)"])
        return int(row["count(*)"])

    def names(self) -> list[str]:
        return [row["name"] for row in self._everything(["name"])]

    def known(self, names: Sequence[str]) -> set[str]:
        rows = self.rows_of([_key(name) for name in names], ["name"])
        return {row["name"] for row in rows.values()}

    def get(self, names: Sequence[str]) -> Templates:
        keys = [_key(name) for name in names]
        rows = self.rows_of(keys, self.columns)
        found = [rows[key] for key in keys]
        group = None
        if self.widths is not None and self.widths[1] is not None:
            group = np.array([row["group_feature"] for row in found], np.float32)
        return Templates(
            list(names),
            np.array([row["embedding"] for row in found], np.float32),
            group,
            np.array([row["photos"] for row in found], np.int32),
            np.array([row["length"] for row in found], np.float32),
            np.array([row["group_length"] for row in found], np.float32),
        )

    def put(self, templates: Templates) -> None:
        long = [name for name in templates.names if len(name.encode()) > _LONGEST_NAME]
        if long:
            raise ValueError(
                f"`names` must have at most {_LONGEST_NAME} bytes in Milvus. Received: one of "
                f"{len(long[0].encode())}, {long[0][:40]!r}…"
            )
        with self._errors("written"):
            if self.widths is None:
                self._create(templates.widths)
            rows = self._rows(templates)
            for start in range(0, len(rows), _BATCH):
                self._client.upsert(COLLECTION, rows[start : start + _BATCH])

    def remove(self, names: Sequence[str]) -> None:
        keys = [_key(name) for name in names]
        with self._errors("written"):
            for start in range(0, len(keys), _BATCH):
                self._client.delete(COLLECTION, ids=keys[start : start + _BATCH])
            if not len(self):
                # The next to come may have other widths.
                self._client.drop_collection(COLLECTION)
                self.widths = None

    def blocks(self) -> Iterator[MilvusBlock]:
        yield MilvusBlock(self, len(self))

    def search(self, probes: Floats, count: int) -> list[list[tuple[str, float]]]:
        """(key, cosine) of the nearest of each probe, at most 16,384 of them."""
        with self._errors("searched"):
            found = self._client.search(
                COLLECTION, data=list(probes), limit=count, anns_field="embedding",
                consistency_level="Strong",
            )  # fmt: skip
        return [[(hit.id, float(hit.distance)) for hit in hits] for hits in found]

    def rows_of(self, keys: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Rows by key; keys that are not there are left out."""
        if self.widths is None:
            return {}
        rows = {}
        with self._errors("read"):
            for start in range(0, len(keys), _BATCH):
                part = list(keys[start : start + _BATCH])
                found = self._client.get(COLLECTION, ids=part, output_fields=["key", *columns])
                rows.update({row["key"]: row for row in found})
        return rows

    def everything(self) -> tuple[list[str], Floats]:
        """Every key and embedding: what is read where Milvus' longest list is not enough."""
        rows = list(self._everything(["embedding"]))
        return [row["key"] for row in rows], np.array([r["embedding"] for r in rows], np.float32)

    def _everything(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        if self.widths is None:
            return
        with self._errors("read"):
            rows = self._client.query_iterator(
                COLLECTION, batch_size=_BATCH, output_fields=["key", *columns],
                consistency_level="Strong",
            )  # fmt: skip
            while batch := rows.next():
                yield from batch
            rows.close()

    @property
    def columns(self) -> list[str]:
        """What is kept of each person."""
        columns = ["name", "embedding", "photos", "length", "group_length"]
        return [*columns, "group_feature"] if self.widths and self.widths[1] else columns

    def _rows(self, templates: Templates) -> list[dict[str, Any]]:
        rows = []
        for row, name in enumerate(templates.names):
            values: dict[str, Any] = {
                "key": _key(name),
                "name": name,
                "embedding": templates.embedding[row],
                "photos": int(templates.photos[row]),
                "length": float(templates.length[row]),
                "group_length": float(templates.group_length[row]),
            }
            if templates.group_feature is not None:
                values["group_feature"] = templates.group_feature[row]
            rows.append(values)
        return rows

    def _create(self, widths: tuple[int, int | None]) -> None:
        kinds = self._milvus.DataType
        schema = self._milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", kinds.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("name", kinds.VARCHAR, max_length=_LONGEST_NAME)
        schema.add_field("photos", kinds.INT64)
        index = self._client.prepare_index_params()
        for field, width in zip(("embedding", "group_feature"), widths, strict=True):
            if width is not None:
                schema.add_field(field, kinds.FLOAT_VECTOR, dim=width)
                index.add_index(field, index_type="FLAT", metric_type="IP")
        for field in ("length", "group_length"):
            schema.add_field(field, kinds.FLOAT)
        described = json.dumps({"format": _FORMAT, "metadata": self.metadata})
        self._client.create_collection(
            COLLECTION, schema=schema, index_params=index, consistency_level="Strong",
            properties={"gfkeras": described},
        )  # fmt: skip
        self.widths = widths

    def _describe(self, described: Mapping[str, Any]) -> None:
        try:
            content = json.loads(described["properties"]["gfkeras"])
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']!r}, expected {_FORMAT}")
            widths = {f["name"]: f["params"].get("dim") for f in described["fields"]}
            self.widths = int(widths["embedding"]), widths.get("group_feature")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.location}: its collection {COLLECTION!r} is not a gallery of this gfkeras: "
                f"{error}"
            ) from error
        self.metadata = dict(content["metadata"])

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._milvus.MilvusException as error:
            reason = str(getattr(error, "message", error)).splitlines()[0]
            if "://" not in self.location and what == "opened":
                reason += "; does another process have it open? Milvus Lite serves one at a time"
            raise ValueError(f"{self.location} could not be {what}: {reason}") from error


class MilvusBlock:
    """All of a collection; rows are numbered as they are met."""

    def __init__(self, index: MilvusIndex, length: int):
        self._index, self._length = index, length
        self._keys: list[str] = []
        self._row_of: dict[str, int] = {}
        self._kept: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return self._length

    def nearest(self, probes: Floats, count: int) -> tuple[Floats, npt.NDArray[np.int64]]:
        if count > _MOST_HITS:
            keys, rows = self._all
            cosine = probes @ rows.T
            order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
            numbers = np.array([self._number(key) for key in keys], np.int64)
            return np.take_along_axis(cosine, order, 1), numbers[order]
        found = self._index.search(probes, count)
        cosine = np.array([[hit[1] for hit in hits] for hits in found], np.float32)
        return cosine, np.array([[self._number(hit[0]) for hit in hits] for hits in found])

    def above(
        self, probes: Floats, least: Floats
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]]:
        return above_by_growth(self, probes, least)

    def embedding(self, rows: npt.NDArray[np.int64]) -> Floats:
        return np.array([row["embedding"] for row in self._rows(rows)], np.float32)

    def group_feature(self, rows: npt.NDArray[np.int64]) -> Floats | None:
        if self._index.widths is None or self._index.widths[1] is None:
            return None
        return np.array([row["group_feature"] for row in self._rows(rows)], np.float32)

    def sketches(self, projection: Floats) -> None:
        # Reading every group feature from a server would take longer than it saves.
        return None

    def names(self, rows: npt.NDArray[np.int64]) -> list[str]:
        return [row["name"] for row in self._rows(rows)]

    def photos(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        return np.array([row["photos"] for row in self._rows(rows)], np.int32)

    @functools.cached_property
    def _all(self) -> tuple[list[str], Floats]:
        return self._index.everything()

    def _number(self, key: str) -> int:
        if key not in self._row_of:
            self._row_of[key] = len(self._keys)
            self._keys.append(key)
        return self._row_of[key]

    def _rows(self, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        wanted = [row for row in dict.fromkeys(rows.tolist()) if row not in self._kept]
        found = self._index.rows_of([self._keys[row] for row in wanted], self._index.columns)
        self._kept.update({row: found[self._keys[row]] for row in wanted})
        return [self._kept[row] for row in rows.tolist()]


def _key(name: str) -> str:
    # A name may hold quotes, of which Milvus would make broken expressions.
    return hashlib.sha256(name.encode("utf-8")).hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracebacks that Milvus Lite logs of errors which it raises, too."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
