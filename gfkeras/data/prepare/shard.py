"""Fourth stage of `prepare`: writing the shards from the catalogue."""

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
    """Shard `number` of `of`: the `count` records of a split from position `first` on."""

    out: Path
    split: str
    number: int
    of: int
    first: int
    count: int

    @property
    def path(self) -> Path:
        """The path of the shard, in the naming scheme of TensorFlow's tools."""
        return self.out / f"{self.split}-{self.number:05d}-of-{self.of:05d}.tfrecord"

    @property
    def index_part(self) -> Path:
        """The path of the shard's index entries, without a header."""
        return self.out / WORK_FOLDER / f"{self.path.name}.index"

    @property
    def summary(self) -> Path:
        """The path of the shard's entry for the manifest."""
        return self.out / WORK_FOLDER / f"{self.path.name}.json"


@dataclasses.dataclass(frozen=True)
class Sharding:
    """The data that a worker needs for any shard: the catalogue and the files of the images."""

    catalogue: Catalogue
    chunks: list[Path]
    size: tuple[int, int]


def write_shard(sharding: Sharding, job: ShardJob) -> int:
    """Writes a shard, its part of the index and its summary, and returns the number of records.

    Raises ValueError if an image in a chunk differs from the one that was written there.
    """
    entries = np.zeros(job.count, ENTRY)
    hashed = hashlib.sha256()
    position = 0
    chunks = ShardFiles(sharding.chunks)
    # The files get their names in reverse order. The shard is last, so a named shard is complete.
    with (
        replacing(job.path) as temporary,
        replacing(job.index_part) as index,
        replacing(job.summary) as summary,
    ):
        with temporary.open("wb") as file:
            rows = sharding.catalogue.records(job.split, job.first, job.count)
            for number, (label, identity, name, chunk, offset, length, expected) in enumerate(rows):
                jpeg = chunks.read(chunk, offset, length)
                # SQLite's `hex` writes capital letters.
                if digest(jpeg) != expected.lower():
                    raise ValueError(
                        f"{chunks.paths[chunk]} is damaged at {name}. Remove "
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
            # Flushed before the rename: a power cut must not leave a named file without content.
            file.flush()
            os.fsync(file.fileno())
        index.write_bytes(entries.tobytes())
        name, sha256 = job.path.name, hashed.hexdigest()
        shard = Shard(file=name, size_bytes=position, sha256=sha256, records=job.count)
        summary.write_text(shard.model_dump_json(), encoding="utf-8")
    return job.count
