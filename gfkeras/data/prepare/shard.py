"""Fourth stage of `prepare`: the shards, each from its part of the catalogue."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np

from gfkeras.data.prepare.catalogue import Catalogue
from gfkeras.data.prepare.conversion import digest
from gfkeras.data.prepare.job import WORK_FOLDER
from gfkeras.data.records.manifest import Shard
from gfkeras.data.records.shard_files import ENTRY, ShardFiles
from gfkeras.data.records.tfrecord import FOOTER_BYTES, HEADER_BYTES, Record, encode, frame
from gfkeras.files import replacing


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """The `count` records from position `first` of a split, as shard `number` of `of`."""

    out: Path
    split: str
    number: int
    of: int
    first: int
    count: int

    @property
    def path(self) -> Path:
        """The shard, named as TensorFlow's tools name shards."""
        return self.out / f"{self.split}-{self.number:05d}-of-{self.of:05d}.tfrecord"

    @property
    def index_part(self) -> Path:
        """The shard's index entries, without a header."""
        return self.out / WORK_FOLDER / f"{self.path.name}.index"

    @property
    def summary(self) -> Path:
        """The shard's entry of the manifest."""
        return self.out / WORK_FOLDER / f"{self.path.name}.json"


@dataclasses.dataclass(frozen=True)
class Sharding:
    """Everything that a worker needs for any shard: what goes where, and the images' files."""

    catalogue: Catalogue
    chunks: list[Path]
    size: tuple[int, int]


def write_shard(sharding: Sharding, job: ShardJob) -> int:
    """Writes a shard, its part of the index and its summary; returns how many records.

    Raises ValueError if an image in a chunk is not the one that was put there.
    """
    entries = np.zeros(job.count, ENTRY)
    hashed = hashlib.sha256()
    position = 0
    chunks = ShardFiles(sharding.chunks)
    with (
        replacing(job.path) as temporary,
        replacing(job.index_part) as index,
        replacing(job.summary) as summary,
    ):
        with temporary.open("wb") as file:
            rows = sharding.catalogue.records(job.split, job.first, job.count)
            for number, (label, identity, name, chunk, offset, length, expected) in enumerate(rows):
                jpeg = chunks.read(chunk, offset, length)
                if digest(jpeg) != expected.lower():
                    raise ValueError(
                        f"{chunks.paths[chunk]} is damaged at {name}; remove "
                        f"{job.out / WORK_FOLDER} and prepare again"
                    )
                record = Record(jpeg, label, identity or "", name, *sharding.size)
                data = encode(record)
                entries[number] = (
                    position + HEADER_BYTES, len(data), data.index(jpeg), len(jpeg), label,
                )  # fmt: skip
                framed = frame(data)
                file.write(framed)
                hashed.update(framed)
                position += HEADER_BYTES + len(data) + FOOTER_BYTES
            # On disk before its name is: a power cut must not leave a name without content.
            file.flush()
            os.fsync(file.fileno())
        index.write_bytes(entries.tobytes())
        name, sha256 = job.path.name, hashed.hexdigest()
        shard = Shard(file=name, size_bytes=position, sha256=sha256, records=job.count)
        summary.write_text(shard.model_dump_json(), encoding="utf-8")
    return job.count
