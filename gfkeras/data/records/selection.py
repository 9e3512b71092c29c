"""Selections of records, written as a new folder of records or as image files."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.records.manifest import SKIPPED_FILE, FileEntry, Split
from gfkeras.data.records.record_set import RecordSet
from gfkeras.data.records.shard_files import write_index
from gfkeras.data.sources.listing import path_problem
from gfkeras.errors import ImageError, wrong
from gfkeras.files import PathLike, replacing

# Key in the manifest's options for the note about a selection.
SELECTION_NOTE = "selection"

_JPEG = (".jpg", ".jpeg")


def write_selection(
    records: RecordSet, keep: np.ndarray, out: PathLike, note: Mapping[str, Any] | None = None
) -> Path:
    """Writes a folder with the records of `records` for which `keep`, (N,) bool, is true.

    The folder has its own index and manifest. Its shards are those of `records`: hard links if the
    file system allows them, otherwise symbolic links or copies. `RecordSet` and `gfkeras train`
    read the folder like any other, but a program that scans the shards sees all records. Other
    splits are taken over unchanged. The manifest's `options` get `note` under `SELECTION_NOTE`. A
    failed write leaves no partial folder. Raises ValueError for an unusable `keep`, or if `out`
    exists.
    """
    keep, out = np.asarray(keep), Path(out)
    if keep.dtype != bool or keep.shape != (len(records),) or not keep.any():
        received = f"shape {keep.shape} of type {keep.dtype}, {int(keep.sum())} true"
        raise wrong("keep", f"be {len(records)} bools, at least one of them true", received)
    if out.exists():
        raise ValueError(f"`out` must be a new folder. Received: out={str(out)!r}")
    manifest = records.manifest
    with replacing(out) as folder:
        folder.mkdir()
        splits = dict(manifest.splits)
        splits[records.split_name] = _selected(records, keep, folder)
        for name, split in splits.items():
            own_index = name == records.split_name
            for entry in split.shards if own_index else (split.index, *split.shards):
                _link(records.folder / entry.file, folder / entry.file)
        if (records.folder / SKIPPED_FILE).is_file():
            shutil.copyfile(records.folder / SKIPPED_FILE, folder / SKIPPED_FILE)
        images = sum(split.images for split in splits.values())
        identities = sum(split.identities for split in splits.values())
        # pairs.csv is not taken over, because it can name records that are not kept.
        totals = {"images": images, "identities": identities, "pairs": 0}
        changes = {
            "splits": splits,
            "counts": manifest.counts.model_copy(update=totals),
            "options": manifest.options | {SELECTION_NOTE: dict(note or {})},
        }
        manifest.model_copy(update=changes).write(folder)
    return out


def _selected(records: RecordSet, keep: np.ndarray, folder: Path) -> Split:
    """Writes the index of the kept records, with consecutive labels."""
    split = records.manifest.splits[records.split_name]
    # The shard of a record follows from its position in the index, so the order must not change.
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
        index=FileEntry.of(index),
        shards=[
            shard.model_copy(update={"records": count})
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


def extract(records: RecordSet, out: PathLike) -> tuple[int, list[tuple[str, str]]]:
    """Writes every record as a JPEG file under its name in the source, byte for byte.

    ".jpg" is added to a name that does not end in .jpg or .jpeg. A failed run leaves no partial
    folder. Returns the number of files, and (name, reason) of the unreadable records. Raises
    ValueError unless the folder is new or empty.
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
            # Records can come from elsewhere. A name must not lead out of the folder.
            if (problem := path_problem(record.name)) is not None:
                skipped.append((record.name, problem))
                continue
            suffix = "" if record.name.lower().endswith(_JPEG) else ".jpg"
            path = folder / f"{record.name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(record.image)
            written += 1
    return written, skipped
