"""An index in Milvus, for several processes or machines."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfkeras.errors import require, wrong, wrong_value
from gfkeras.inference.gallery.milvus_block import (
    TIMEOUT,
    MilvusBlock,
    close,
    connect,
    is_lite,
    reported,
)
from gfkeras.inference.gallery.templates import Templates

COLLECTION = "gfkeras_faces"
_FORMAT = 1
# Longest text in Milvus, in bytes.
_LONGEST_NAME = 65_535
# Largest number of values in one call. Servers accept messages of 64 MiB, and pymilvus creates a
# Python object for each value.
_NUMBERS = 2**21
# Largest number of people in one call.
_KEYS = 1000
# Largest number of hits in one search, for all probes together.
_HITS = 2**17

Floats = npt.NDArray[np.float32]
Row = dict[str, Any]


class MilvusIndex:
    """Templates in a Milvus collection with a FLAT index, which searches exactly.

    The location of Milvus Lite (`pip install 'gfkeras[milvus]'`) is a folder that ends in ".db".
    Only one process can open it at a time. The location of a cluster is a URL,
    "http://host:19530" or "http://host:19530/database". A database holds one gallery with its
    `metadata`.

    When `put` or `remove` returns, the change is in Milvus' log. If a call is killed or fails, some
    of its people may be stored, but each of them completely.
    """

    def __init__(
        self, location: str, token: str | None, storage: str | None, metadata: Mapping[str, str]
    ):
        if storage not in (None, "float32"):
            raise wrong_value("storage", "be 'float32' in Milvus", storage)
        self.storage, self.location = "float32", location
        self.metadata = dict(metadata)
        self._widths: tuple[int, int | None] | None = None
        self._empty = True
        self._client = connect(location, token)
        self._look()

    @property
    def widths(self) -> tuple[int, int | None] | None:
        """The widths (D, G), with G = None without groups, or None for an empty index."""
        if self._empty:
            # Another process can have enrolled people since the last look.
            self._look()
        return None if self._empty else self._widths

    def __len__(self) -> int:
        if self.widths is None:
            return 0
        return self._count()

    def names(self) -> list[str]:
        return [row["name"] for page in self.pages(["name"]) for row in page]

    def known(self, names: Sequence[str]) -> set[str]:
        rows = self.rows_of([_key(name) for name in names], ["name"])
        return {row["name"] for row in rows.values()}

    def get(self, names: Sequence[str]) -> Templates:
        keys = [_key(name) for name in names]
        rows = self.rows_of(keys, ["name", "embedding", "photos", "length", "group_length"])
        missing = [name for name, key in zip(names, keys, strict=True) if key not in rows]
        if missing:
            raise ValueError(f"{missing[0]!r} was removed from {self.location} meanwhile")
        found = [rows[key] for key in keys]
        group = None
        if self._widths is not None and self._widths[1] is not None:
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
            received = f"one of {len(long[0].encode()):,}, {long[0][:40]!r}…"
            raise wrong("names", f"have at most {_LONGEST_NAME:,} bytes in Milvus", received)
        # Another process can have removed all people and enrolled others since the last look.
        self._look()
        if not self._empty and self._widths != templates.widths:
            raise ValueError(f"{self.location} now has embeddings of other widths")
        if self._widths != templates.widths:
            self._create(templates.widths)
        step = _rows_a_call(templates.widths)
        with reported(self.location, "written"):
            for start in range(0, len(templates), step):
                part = templates.take(range(start, min(start + step, len(templates))))
                self._client.upsert(COLLECTION, _rows(part), timeout=TIMEOUT)
        self._empty = False

    def remove(self, names: Sequence[str]) -> None:
        keys = [_key(name) for name in names]
        with reported(self.location, "written"):
            for start in range(0, len(keys), _KEYS):
                part = keys[start : start + _KEYS]
                self._client.delete(COLLECTION, ids=part, timeout=TIMEOUT)
        # An empty collection is not dropped, because another process can be adding people to it.
        self._empty = not self._count()

    def blocks(self) -> Iterator[MilvusBlock]:
        if self.widths is not None:
            yield MilvusBlock(self, self._widths or (0, None), self._count())

    def flush(self) -> None:
        """Moves the log of Milvus Lite to its data files. A cluster does this by itself."""
        if is_lite(self.location) and self._widths is not None:
            with reported(self.location, "written"):
                self._client.flush(COLLECTION)

    def close(self) -> None:
        """Closes the connection. Another process can then open the folder of Milvus Lite."""
        close(self.location, self._client)

    def search(self, probes: Floats, count: int) -> list[list[tuple[str, float]]]:
        """Returns (key, cosine) of the `count` ≤ 16,384 nearest rows of each probe, in order."""
        found: list[list[tuple[str, float]]] = []
        step = max(1, _HITS // count)
        with reported(self.location, "searched"):
            for start in range(0, len(probes), step):
                lists = self._client.search(
                    COLLECTION, data=list(probes[start : start + step]), limit=count,
                    anns_field="embedding", consistency_level="Strong", timeout=TIMEOUT,
                )  # fmt: skip
                found += [[(hit.id, float(hit.distance)) for hit in hits] for hits in lists]
        return found

    def rows_of(self, keys: Sequence[str], columns: Sequence[str]) -> dict[str, Row]:
        """Returns existing rows by key. "embedding" also returns the group features."""
        if self.widths is None:
            return {}
        rows, columns = {}, self._with_groups(columns)
        step = min(_KEYS, _rows_a_call(self._widths if "embedding" in columns else None))
        with reported(self.location, "read"):
            for start in range(0, len(keys), step):
                found = self._client.get(
                    COLLECTION, ids=list(keys[start : start + step]),
                    output_fields=["key", *columns], consistency_level="Strong", timeout=TIMEOUT,
                )  # fmt: skip
                rows.update({row["key"]: row for row in found})
        return rows

    def pages(self, columns: Sequence[str]) -> Iterator[list[Row]]:
        """Yields all rows in pages. "embedding" also returns the group features."""
        if self.widths is None:
            return
        columns = self._with_groups(columns)
        size = _rows_a_call(self._widths if "embedding" in columns else None)
        with reported(self.location, "read"):
            pages = self._client.query_iterator(
                COLLECTION, batch_size=size, output_fields=["key", *columns],
                consistency_level="Strong", timeout=TIMEOUT,
            )  # fmt: skip
            while page := pages.next():
                yield page
            pages.close()

    def _with_groups(self, columns: Sequence[str]) -> list[str]:
        grouped = self._widths is not None and self._widths[1] is not None
        return [*columns, *(["group_feature"] if grouped and "embedding" in columns else [])]

    def _count(self) -> int:
        with reported(self.location, "read"):
            (row,) = self._client.query(
                COLLECTION, filter="", output_fields=["count(*)"], consistency_level="Strong",
                timeout=TIMEOUT,
            )  # fmt: skip
        return int(row["count(*)"])

    def _look(self) -> None:
        """Reads the widths, the metadata and whether there are people."""
        with reported(self.location, "opened"):
            if not self._client.has_collection(COLLECTION, timeout=TIMEOUT):
                self._widths, self._empty = None, True
                return
            described = self._client.describe_collection(COLLECTION, timeout=TIMEOUT)
        self._read(described)
        self._load()
        self._empty = not self._count()

    def _read(self, described: Mapping[str, Any]) -> None:
        try:
            content = json.loads(described["properties"]["gfkeras"])
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']!r}, expected {_FORMAT}")
            sizes = {field["name"]: field["params"] for field in described["fields"]}
            group = sizes.get("group_feature")
            widths = int(sizes["embedding"]["dim"]), group and int(group["max_capacity"])
            metadata = dict(content["metadata"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.location}: its collection {COLLECTION!r} is not a gallery of this gfkeras: "
                f"{error}"
            ) from error
        self._widths = widths
        # The dictionary changes in place, because the gallery shares it.
        self.metadata.update(metadata)

    def _create(self, widths: tuple[int, int | None]) -> None:
        kinds = require("pymilvus", "milvus").DataType
        with reported(self.location, "written"):
            if self._client.has_collection(COLLECTION, timeout=TIMEOUT):
                # It is empty, and was made for other widths.
                self._client.drop_collection(COLLECTION, timeout=TIMEOUT)
            elif is_lite(self.location):
                # A process that was killed while it created or dropped the collection leaves files.
                # They would stop Milvus Lite from creating it again.
                shutil.rmtree(Path(self.location) / "collections" / COLLECTION, ignore_errors=True)
            schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("key", kinds.VARCHAR, is_primary=True, max_length=64)
            schema.add_field("name", kinds.VARCHAR, max_length=_LONGEST_NAME)
            schema.add_field("embedding", kinds.FLOAT_VECTOR, dim=widths[0])
            if widths[1] is not None:
                # An array, because a second vector field would need an index. It is never searched.
                schema.add_field(
                    "group_feature", kinds.ARRAY, element_type=kinds.FLOAT, max_capacity=widths[1]
                )
            schema.add_field("photos", kinds.INT64)
            schema.add_field("length", kinds.FLOAT)
            schema.add_field("group_length", kinds.FLOAT)
            described = json.dumps({"format": _FORMAT, "metadata": self.metadata})
            self._client.create_collection(
                COLLECTION, schema=schema, consistency_level="Strong", timeout=TIMEOUT,
                properties={"gfkeras": described},
            )  # fmt: skip
        self._widths = widths
        self._load()

    def _load(self) -> None:
        """Loads the collection for searching."""
        with reported(self.location, "opened"):
            # The index can be missing if a process was killed right after creating the collection.
            if "embedding" not in self._client.list_indexes(COLLECTION):
                index = self._client.prepare_index_params()
                index.add_index("embedding", index_type="FLAT", metric_type="IP")
                self._client.create_index(COLLECTION, index)
            self._client.load_collection(COLLECTION)


def _rows(templates: Templates) -> list[Row]:
    group = templates.group_feature
    columns: dict[str, Sequence[Any]] = {
        "key": [_key(name) for name in templates.names],
        "name": templates.names,
        "embedding": list(templates.embedding),
        "photos": templates.photos.tolist(),
        "length": templates.length.tolist(),
        "group_length": templates.group_length.tolist(),
    }
    if group is not None:
        columns["group_feature"] = group.tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _rows_a_call(widths: tuple[int, int | None] | None) -> int:
    """Returns the number of rows per call. Milvus returns at most 16,384."""
    numbers = 0 if widths is None else widths[0] + (widths[1] or 0)
    return max(1, min(16_384, _NUMBERS // max(1, numbers)))


def _key(name: str) -> str:
    # The key is a hash, because quotes in a name would break Milvus' filter expressions.
    return hashlib.blake2b(name.encode(), digest_size=20).hexdigest()
