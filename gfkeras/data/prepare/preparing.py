"""Preparation of training records from photos, in stages that can be interrupted and resumed.

    plan       the items of the source, listed on disk
    chunks     their images, aligned and encoded, in parallel
    catalogue  duplicates, limits, labels, split and order
    shards     TFRecord files, in parallel
    manifest   and skipped.csv. After that, the work folder is deleted

Each file depends only on the source and the options, and gets its name when it is complete. A run
that finds files of an earlier one continues there and produces the same bytes.
"""

import csv
import dataclasses
import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from gfkeras.data.alignment import FaceAligner, FaceDetector, face_template
from gfkeras.data.prepare.catalogue import HELDOUT, Catalogue
from gfkeras.data.prepare.conversion import Conversion, convert_chunk
from gfkeras.data.prepare.job import CATALOGUE_FILE, LOCK_FILE, WORK_FOLDER, begin_job, job_of
from gfkeras.data.prepare.options import LISTED, PrepareOptions, PrepareResult
from gfkeras.data.prepare.plan import Plan, connected
from gfkeras.data.prepare.shard import Sharding, ShardJob, write_shard
from gfkeras.data.prepare.workers import run_all
from gfkeras.data.records import manifest
from gfkeras.data.records.manifest import MANIFEST_FILE, PAIRS_FILE, SKIPPED_FILE
from gfkeras.data.records.shard_files import write_index
from gfkeras.data.sources import Source, open_source
from gfkeras.errors import wrong
from gfkeras.files import PathLike, csv_file, replacing
from gfkeras.locks import only_writer
from gfkeras.processors import usable_processors
from gfkeras.version import __version__

Progress = Callable[[str, int, int | None], None]


def prepare(
    source: Source | PathLike,
    out: PathLike,
    options: PrepareOptions | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PrepareResult:
    """Converts a source of face images to sharded training records.

    The folder then contains `train-00000-of-00002.tfrecord` and so on, `train.index.npy`, the same
    for "heldout" if identities were held out, `skipped.csv`, `pairs.csv` if the source has pairs,
    and `manifest.json`, which is written last. During the run, a folder `.prepare` in it needs as
    much disk space again as the images. The same source and options give the same bytes, for any
    number of workers, and also if the run was killed and restarted.

    Args:
        source: a source, or a path for `gfkeras.data.sources.open_source`.
        out: the output folder. It must be new, empty, or from a run with the same source and
            options.
        options: see `PrepareOptions`.
        workers: number of processes. The default is the number of processors.
        progress: called with the stage ("list", "convert", "write"), the amount done, and the
            total, or None if the total is not known yet.

    Raises:
        ValueError: if the source, the options or the folder do not fit, if no usable image was
            found, or if another process is using the folder.
        OSError: if the disk is full or not writable, or if a worker process was killed.

    Example:
        result = prepare("photos", "records", PrepareOptions(align=True))
        records = gfkeras.data.RecordSet(result.out)
    """
    started = time.perf_counter()
    options = options or PrepareOptions()
    if not isinstance(source, Source):
        source = open_source(source)
    out = Path(out)
    _check_place(source, out)
    job = job_of(source, options)
    out.mkdir(parents=True, exist_ok=True)
    with only_writer(out, out / LOCK_FILE):
        resumed = begin_job(out, job)
        if not (out / MANIFEST_FILE).is_file():
            report = progress or (lambda stage, done, total: None)
            _Stages(source, out, options, workers or usable_processors(), report).run()
        shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
        return _result(out, time.perf_counter() - started, resumed)


@dataclasses.dataclass(frozen=True)
class _Stages:
    """The stages of a run."""

    source: Source
    out: Path
    options: PrepareOptions
    workers: int
    progress: Progress

    @property
    def work(self) -> Path:
        """The folder of intermediate files."""
        return self.out / WORK_FOLDER

    def run(self) -> None:
        """Runs the stages that are not finished."""
        # Open the detector first: if its file is missing, the run should fail before the long
        # listing.
        options, aligner = self.options, None
        if options.align:
            aligner = FaceAligner(FaceDetector(options.detector), options.face, options.size)
        plan = self._plan()
        chunks = self._convert(plan, aligner)
        catalogue = self._catalogue(chunks)
        jobs = self._shard_jobs(catalogue)
        sharding = Sharding(catalogue, chunks, options.size)
        self._write_shards(sharding, jobs)
        self._finish(plan, sharding, jobs)

    def _plan(self) -> Plan:
        path = self.work / "plan.sqlite"
        if path.is_file():
            return Plan(path)
        self.progress("list", 0, None)
        plan = Plan.write(self.source, path, lambda done: self.progress("list", done, None))
        self.progress("list", plan.items, plan.items)
        return plan

    def _convert(self, plan: Plan, aligner: FaceAligner | None) -> list[Path]:
        folder = self.work / "chunks"
        folder.mkdir(exist_ok=True)
        options = self.options
        conversion = Conversion(
            self.source, plan, folder, aligner, options.size[0], options.quality, options.resize
        )
        paths = [conversion.path(number) for number in range(plan.chunks)]
        # A name that begins with a dot belongs to an unfinished file.
        done = {path.name for path in folder.glob("*.chunk") if not path.name.startswith(".")}
        missing = [number for number, path in enumerate(paths) if path.name not in done]
        # An estimate for the progress bar: the last chunk, which is shorter, counts as a full one.
        converted = min(plan.items, len(done) * -(-plan.items // max(1, plan.chunks)))
        self.progress("convert", converted, plan.items)
        for items in run_all(convert_chunk, missing, conversion, self._processes(len(missing))):
            converted += items
            self.progress("convert", min(converted, plan.items), plan.items)
        return paths

    def _catalogue(self, chunks: list[Path]) -> Catalogue:
        path = self.work / CATALOGUE_FILE
        if not path.is_file():
            keep = self.options.keep_duplicates
            if keep is None:
                # Pairs can name both copies of an image.
                keep = self.source.pairs() is not None
            Catalogue.write(chunks, self.options, keep, path)
        return Catalogue(path)

    def _shard_jobs(self, catalogue: Catalogue) -> list[ShardJob]:
        splits = catalogue.splits()
        if not splits:
            first = next(catalogue.skipped(), None)
            detail = f". The first: {first[0]}: {first[2]}" if first else ""
            received = f"{str(self.source.path)!r}, none usable{detail}"
            raise wrong("source", "contain usable images", received)
        size = self.options.shard_size
        return [
            ShardJob(self.out, split, number, -(-total // size), first, min(size, total - first))
            for split, total in splits.items()
            for number, first in enumerate(range(0, total, size))
        ]

    def _write_shards(self, sharding: Sharding, jobs: list[ShardJob]) -> None:
        # A shard gets its name after its index and summary, so a named shard is complete.
        missing = [job for job in jobs if not job.path.is_file()]
        total = sum(job.count for job in jobs)
        written = total - sum(job.count for job in missing)
        self.progress("write", written, total)
        for records in run_all(write_shard, missing, sharding, self._processes(len(missing))):
            written += records
            self.progress("write", written, total)

    def _finish(self, plan: Plan, sharding: Sharding, jobs: list[ShardJob]) -> None:
        catalogue = sharding.catalogue
        splits = {}
        for split, images in catalogue.splits().items():
            of_split = [job for job in jobs if job.split == split]
            index = self.out / f"{split}.index.npy"
            with replacing(index) as temporary:
                write_index(temporary, images, [job.index_part for job in of_split])
            label_map = catalogue.label_map(split)
            splits[split] = manifest.Split(
                images=images,
                identities=len(label_map),
                label_map=label_map,
                index=manifest.FileEntry.of(index),
                shards=[
                    manifest.Shard.model_validate_json(job.summary.read_bytes()) for job in of_split
                ],
            )
        kinds = catalogue.skipped_kinds()
        with csv_file(self.out / SKIPPED_FILE, ("path", "kind", "reason")) as write:
            for name, kind, reason in catalogue.skipped():
                write([PurePosixPath(name), kind, reason])
        height, width = size = self.options.size
        points = face_template(size).round(4).tolist()
        template = {"name": f"arcface-{height}x{width}", "points": points}
        job = job_of(self.source, self.options)
        manifest.Manifest(
            gfkeras=__version__,
            source=job["source"],
            options=job["options"],
            template=template if self.options.align else None,
            image=manifest.ImageFormat(height=height, width=width),
            counts=manifest.Counts(
                items=plan.items,
                images=sum(split.images for split in splits.values()),
                identities=sum(split.identities for split in splits.values()),
                skipped=sum(kinds.values()),
                fitted=catalogue.fitted(),
                pairs=self._write_pairs(catalogue),
            ),
            skipped_reasons=kinds,
            splits=splits,
        ).write(self.out)

    def _write_pairs(self, catalogue: Catalogue) -> int:
        """Writes the pairs whose two images both have records, and returns their number."""
        pairs = self.source.pairs()
        if pairs is None:
            return 0
        count = 0
        with (
            csv_file(self.out / PAIRS_FILE, ("first", "second", "same", "fold")) as write,
            connected(catalogue.path) as database,
        ):
            # Without the index, each of the many look-ups below would scan the table.
            database.execute("CREATE INDEX IF NOT EXISTS by_name ON images (name)")
            for pair in pairs:
                if all(catalogue.has(database, name) for name in (pair.first, pair.second)):
                    names = PurePosixPath(pair.first), PurePosixPath(pair.second)
                    write([*names, int(pair.same), pair.fold])
                    count += 1
        return count

    def _processes(self, jobs: int) -> int:
        """Returns the number of processes. Starting one takes longer than a job or two."""
        return max(1, min(self.workers, jobs // 2))


def _check_place(source: Source, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"`out` must be a folder. Received: {str(out)!r}, which is a file")
    if source.path.is_dir():
        root, inside = source.path.resolve(), out.resolve()
        if root == inside or root in inside.parents:
            raise ValueError(
                "`out` must be outside of the source. Otherwise the next run would read the "
                f"records of this one. Received: source={str(source.path)!r}, out={str(out)!r}"
            )


def _result(out: Path, seconds: float, resumed: bool) -> PrepareResult:
    written = manifest.Manifest.read(out)
    heldout = written.splits.get(HELDOUT)
    shards = [shard for split in written.splits.values() for shard in split.shards]
    with (out / SKIPPED_FILE).open(newline="", encoding="utf-8") as file:
        rows = itertools.islice(csv.DictReader(file), LISTED)
        skipped = [(row["path"], row["reason"]) for row in rows]
    return PrepareResult(
        out=out,
        **written.counts.model_dump(exclude={"pairs"}),
        heldout_images=0 if heldout is None else heldout.images,
        heldout_identities=0 if heldout is None else heldout.identities,
        skipped_reasons=written.skipped_reasons,
        skipped_files=skipped,
        shards=len(shards),
        size_bytes=sum(shard.size_bytes for shard in shards),
        seconds=seconds,
        resumed=resumed,
    )
