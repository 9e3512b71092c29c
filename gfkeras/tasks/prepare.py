"""Preparation of training records."""

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

    If the run is interrupted, call it again with the same arguments: it continues where it stopped.

    Args:
        source: a folder with one folder per person, a CSV or TSV list, train.rec, a .bin file, LFW
            pairs, a folder of IJB, YouTube Faces, MegaFace or CelebA, or "tfds:NAME".
        out: folder for the records: new, or of an unfinished run.
        format: format of the source. By default, it is recognised from its files.
        source_options: settings of the source format, such as `{"root": "images"}`.
        workers: number of processes. By default, the number of processors.
        progress: called with the stage ("list", "convert" or "write"), the number of items done,
            and the number of items, which is None if it is unknown.
        options: fields of `PrepareOptions`, such as `align=True` or `holdout=100`.

    Raises:
        ValueError: if source, options and folder do not fit together, if no image is usable, or if
            a worker process was killed.

    Example:
        prepare("photos", "records", align=True, holdout=10).images
    """
    checked = PrepareOptions(**options)
    opened = open_source(source, format, **(source_options or {}))
    try:
        return prepare_records(opened, out, checked, workers=workers, progress=progress)
    except RuntimeError as error:
        # A killed worker, for example without memory: users get one line, not a traceback.
        raise ValueError(str(error)) from error
