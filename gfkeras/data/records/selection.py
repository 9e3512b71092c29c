"""Selections of records: as a folder of records or as image files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.images import ImageError
from gfkeras.data.records.manifest import SKIPPED_FILE, FileEntry, Shard, Split
from gfkeras.data.records.record_set import RecordSet
from gfkeras.data.records.shard_files import write_index
from gfkeras.data.sources.listing import path_problem
from gfkeras.files import replacing, sha256

# Where the manifest's options keep what a selection is of.
SELECTION_NOTE = "selection"

_JPEG = (".jpg", ".jpeg")


def write_selection(
    records: RecordSet,
    keep: np.ndarray,
    out: str | os.PathLike[str],
    note: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a folder of records that holds some of `records`.

    It has an index and a manifest of its own; the shards are those of `records`, as hard links
    where the file system allows it, else as symbolic links, else as copies. So `RecordSet` and
    `gfkeras train` read it as any other folder. A program that scans the shards instead of
    reading the index sees all records. Other splits of the folder come along as they are.

    Args:
        records: a split, or a selection of one.
        keep: (N,) bool, which of them.
        out: a new folder; it appears when all is written.
        note: kept in the manifest's `options` under `SELECTION_NOTE`.

    Returns:
        The folder.

    Raises:
        ValueError: if `keep` is not one bool a record, or keeps none, or `out` exists.
    """
    keep, out = np.asarray(keep), Path(out)
    if keep.dtype != bool or keep.shape != (len(records),) or not keep.any():
        raise ValueError(
            f"`keep` must be {len(records)} bools with a true one among them. "
            f"Received: shape {keep.shape} of type {keep.dtype}, {int(keep.sum())} true"
        )
    if out.exists():
        raise ValueError(f"`out` must be a new folder. Received: out={str(out)!r}")
    manifest = records.manifest
    with replacing(out) as folder:
        folder.mkdir()
        splits = {
            name: _whole(records, name, folder)
            if name != records.split_name
            else _selected(records, keep, folder)
            for name in manifest.splits
        }
        for split in splits.values():
            for shard in split.shards:
                _link(records.folder / shard.file, folder / shard.file)
        if (records.folder / SKIPPED_FILE).is_file():
            shutil.copyfile(records.folder / SKIPPED_FILE, folder / SKIPPED_FILE)
        counts = manifest.counts.model_copy(
            update={
                "images": sum(split.images for split in splits.values()),
                "identities": sum(split.identities for split in splits.values()),
                # pairs.csv does not come along.
                "pairs": 0,
            }
        )
        options = manifest.options | {SELECTION_NOTE: dict(note or {})}
        manifest.model_copy(update={"splits": splits, "counts": counts, "options": options}).write(
            folder
        )
    return out


def _whole(records: RecordSet, name: str, folder: Path) -> Split:
    split = records.manifest.splits[name]
    _link(records.folder / split.index.file, folder / split.index.file)
    return split


def _selected(records: RecordSet, keep: np.ndarray, folder: Path) -> Split:
    """Writes the index of the records kept, with labels that have no gaps."""
    split = records.manifest.splits[records.split_name]
    # A record's shard is found from its place in the index, so the order stays.
    order = np.argsort(records.rows, kind="stable")
    order = order[keep[order]]
    labels = records.labels[order]
    present = np.unique(labels[labels >= 0])
    new_label = np.full(len(records.identities) + 1, -1, np.int32)
    new_label[present] = np.arange(len(present))
    entries = records.entries[order].copy()
    entries["label"] = new_label[labels]
    ends = np.cumsum([shard.records for shard in split.shards], dtype=np.int64)
    shard_of = np.searchsorted(ends, records.rows[order], side="right")
    counts = np.bincount(shard_of, minlength=len(split.shards)).tolist()
    raw, index = folder / f".{split.index.file}.raw", folder / split.index.file
    raw.write_bytes(entries.tobytes())
    write_index(index, len(entries), [raw])
    raw.unlink()
    names = [records.identities[label] for label in present]
    return Split(
        images=len(entries),
        identities=len(names),
        label_map={name: label for label, name in enumerate(names)},
        index=FileEntry(file=index.name, size_bytes=index.stat().st_size, sha256=sha256(index)),
        shards=[
            Shard(**{**shard.model_dump(), "records": count})
            for shard, count in zip(split.shards, counts, strict=True)
            if count
        ],
    )


def _link(source: Path, target: Path) -> None:
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:
        try:
            target.symlink_to(source)
        except OSError:
            shutil.copyfile(source, target)


def extract(records: RecordSet, out: str | os.PathLike[str]) -> tuple[int, list[tuple[str, str]]]:
    """Writes every record as a JPEG under its name in the source, byte for byte.

    A name that does not end in .jpg or .jpeg gets .jpg behind it.

    Args:
        records: what to write.
        out: a new or empty folder; it appears when all is written.

    Returns:
        How many files, and (name, reason) of records that could not be read.

    Raises:
        ValueError: if `out` holds something.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"`out` must be a new or an empty folder. Received: out={str(out)!r}")
    written, skipped = 0, []
    with replacing(out) as folder:
        folder.mkdir()
        for number in range(len(records)):
            try:
                record = records.record(number)
            except ImageError as error:
                skipped.append((error.path, error.reason))
                continue
            # Records may come from elsewhere: a name must not lead out of the folder.
            if (problem := path_problem(record.name)) is not None:
                skipped.append((record.name, problem))
                continue
            name = record.name
            path = folder / (name if name.lower().endswith(_JPEG) else f"{name}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(record.image)
            written += 1
    return written, skipped
