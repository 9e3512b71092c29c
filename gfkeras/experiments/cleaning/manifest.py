"""The cleaned manifest: a list of files, or records that share the shards of the source."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data import FaceFolder, Faces, ImageError, RecordSet
from gfkeras.data.folder import check_listable, write_image_list
from gfkeras.data.records.manifest import Manifest
from gfkeras.data.records.selection import SELECTION_NOTE, write_selection
from gfkeras.errors import wrong_value
from gfkeras.files import replacing

LIST_FILE, RECORDS_FOLDER = "cleaned.txt", "cleaned"


def image_name(data: FaceFolder | RecordSet, faces: Faces | RecordSet, row: int) -> str:
    """Returns the name of an image: its path below the folder of people, or the record's name."""
    if isinstance(faces, RecordSet):
        try:
            return faces.record(row).name
        except ImageError as error:
            return error.path
    assert isinstance(data, FaceFolder)
    return faces.paths[row].relative_to(data.root).as_posix()


def require_place(data: FaceFolder | RecordSet, out: Path) -> None:
    """Raises ValueError if the kept records would replace data that no cleaning can restore.

    Also raises it for image names that the list of kept files cannot hold.
    """
    if isinstance(data, FaceFolder):
        check_listable(data.listed())
    folder = out / RECORDS_FOLDER
    if not isinstance(data, RecordSet) or not folder.exists():
        return
    if folder.samefile(data.folder):
        expected = f"not be the folder that contains `data`: {str(folder)!r} would be replaced"
        raise wrong_value("out", expected, str(out))
    try:
        # Only records with this note come from a cleaning and can be made again.
        ours = SELECTION_NOTE in Manifest.read(folder).options
    except ValueError:
        ours = False
    if not ours:
        raise ValueError(
            f"`out` must not hold a folder {RECORDS_FOLDER!r} that no earlier cleaning wrote, "
            f"because it would be replaced. Received: out={str(out)!r}"
        )


def write_manifest(
    data: FaceFolder | RecordSet,
    faces: Faces | RecordSet,
    dropped: np.ndarray,
    out: Path,
    note: Mapping[str, Any],
) -> Path:
    """Writes all of `data` except the rows `dropped` of `faces`. People held out are included.

    Returns `cleaned.txt` (`gfkeras train --data DIR --images cleaned.txt`), or the folder `cleaned`
    of records with a note in its manifest (`gfkeras train --data cleaned`).
    """
    if isinstance(data, RecordSet):
        assert isinstance(faces, RecordSet)
        keep = ~np.isin(data.rows, faces.rows[dropped])
        with replacing(out / RECORDS_FOLDER) as folder:
            write_selection(data, keep, folder, note)
        return out / RECORDS_FOLDER
    assert isinstance(faces, Faces)
    left_out = {*(faces.paths[row] for row in dropped), *(path for path, _ in faces.skipped)}
    listed = zip(data.paths, data.listed(), strict=True)
    write_image_list(out / LIST_FILE, [name for path, name in listed if path not in left_out])
    return out / LIST_FILE
