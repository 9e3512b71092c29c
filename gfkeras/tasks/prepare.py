"""Preparation of training records from photos or a public data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfkeras.data.prepare import PrepareOptions, PrepareResult
from gfkeras.data.prepare import prepare as prepare_records
from gfkeras.data.sources import open_source
from gfkeras.files import PathLike
from gfkeras.tasks.reporting import Progress


def prepare(
    source: PathLike,
    out: PathLike,
    *,
    format: str | None = None,  # noqa: A002
    source_options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> PrepareResult:
    """Turns photos or a public data set into training records.

    A run that was interrupted or killed continues where it stopped when you call this again
    with the same arguments.

    Args:
        source: a folder with a folder per person, a CSV or TSV list, train.rec, a .bin set, LFW
            pairs, an IJB, YouTube Faces or MegaFace folder, or "tfds:NAME".
        out: the folder for the records; new, or of an interrupted run.
        format: of the source; detected by default.
        source_options: further arguments of the source, such as `{"root": "images"}`.
        workers: processes; the number of processors by default.
        progress: called with the stage ("list", "convert", "write"), how much of it is done, and
            how much there is, None where that is not known.
        options: fields of `PrepareOptions`, such as `align=True` or `holdout=100`.

    Raises:
        ValueError: if source, options or folder do not fit, nothing usable was found, or a worker
            process was killed.

    Example:
        prepare("photos", "records", align=True, holdout=10).images
    """
    checked = PrepareOptions(**options)
    opened = open_source(source, format, **(source_options or {}))
    try:
        return prepare_records(opened, out, checked, workers=workers, progress=progress)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
