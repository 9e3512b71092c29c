"""Fourth stage of `prepare`: the shards, each from its part of the catalogue."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import numpy as np

from gfkeras.data.prepare.catalogue import Catalogue
from gfkeras.data.prepare.conversion import digest
from gfkeras.data.records.manifest import Shard
from gfkeras.data.records.shard_files import ENTRY, ShardFiles
from gfkeras.data.records.tfrecord import FOOTER_BYTES, HEADER_BYTES, Record, encode, frame
from gfkeras.files import replacing


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """The records of one shard.

    Attributes:
        split: such as "train".
        number: of the shard, from 0.
        of: how many shards the split has.
        first, count: of the records, by their position in the split.
    """

    split: str
    number: int
    of: int
    first: int
    count: int

    @property
    def file(self) -> str:
        """Its name, as TensorFlow's tools name shards."""
        return f"{self.split}-{self.number:05d}-of-{self.of:05d}.tfrecord"


@dataclasses.dataclass(frozen=True)
class Sharding:
    """Everything that a worker needs for any shard.

    Attributes:
        catalogue: says what goes where.
        chunks: the files with the images, in order.
        out: folder of the shards.
        work: folder of their index parts and summaries.
        size: (height, width) of the images.
    """

    catalogue: Catalogue
    chunks: list[Path]
    out: Path
    work: Path
    size: tuple[int, int]

    def index_part(self, job: ShardJob) -> Path:
        """The index entries of a shard, without a header."""
        return self.work / f"{job.file}.index"

    def summary(self, job: ShardJob) -> Path:
        """The file with a shard's entry of the manifest."""
        return self.work / f"{job.file}.json"

    def is_done(self, job: ShardJob) -> bool:
        """Whether the shard is whole: it appears under its name after all that goes with it."""
        return (self.out / job.file).is_file()


def write_shard(sharding: Sharding, job: ShardJob) -> int:
    """Writes a shard, its part of the index and its summary; returns how many records.

    Raises:
        ValueError: if an image in a chunk is not the one that was put there.
    """
    entries = np.zeros(job.count, ENTRY)
    hashed = hashlib.sha256()
    position = 0
    chunks = ShardFiles(sharding.chunks)
    with (
        replacing(sharding.out / job.file) as temporary,
        replacing(sharding.index_part(job)) as index,
        replacing(sharding.summary(job)) as summary,
    ):
        with temporary.open("wb") as file:
            rows = sharding.catalogue.records(job.split, job.first, job.count)
            for number, (label, identity, name, chunk, offset, length, expected) in enumerate(rows):
                jpeg = chunks.read(chunk, offset, length)  # type: ignore[arg-type]
                if digest(jpeg) != str(expected).lower():
                    raise ValueError(
                        f"{chunks.paths[chunk]} is damaged at {name}; remove "  # type: ignore[call-overload]
                        f"{sharding.work} and prepare again"
                    )
                data = encode(
                    Record(jpeg, label, identity or "", name, *sharding.size)  # type: ignore[arg-type]
                )
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
        shard = Shard(
            file=job.file, size_bytes=position, sha256=hashed.hexdigest(), records=job.count
        )
        summary.write_text(json.dumps(shard.model_dump()), encoding="utf-8")
    return job.count
