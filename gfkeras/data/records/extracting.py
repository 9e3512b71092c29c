"""Records back as files: to look at, or for programs that take a folder of folders."""

from __future__ import annotations

import os
from pathlib import Path

from gfkeras.data.images import ImageError
from gfkeras.data.records.record_set import RecordSet
from gfkeras.data.sources.local import path_problem
from gfkeras.files import replacing

_JPEG = (".jpg", ".jpeg")


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
