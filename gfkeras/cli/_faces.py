"""The faces to train on, from a folder of people or from prepared records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gfkeras.data import FaceFolder, RecordSet

DataOption = Annotated[
    Path, typer.Option(help="Records that `gfkeras prepare` wrote, or one folder per person.")
]
IdentitiesOption = Annotated[
    Path | None,
    typer.Option(help="Text file with the people to take, one name a line; all by default."),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        help="Text file with the images to take of a folder of people: PERSON/FILE a line, or "
        "PATH, a tab and the person. All by default."
    ),
]


def open_faces(
    data: Path, identities: Path | None, images: Path | None, min_images: int
) -> FaceFolder | RecordSet:
    """What `--data`, `--identities` and `--images` name, undecoded.

    Raises:
        ValueError: for a list of images with records, or as `FaceFolder` and `RecordSet`.
    """
    from gfkeras.data import FaceFolder, RecordSet
    from gfkeras.data.folder import read_names
    from gfkeras.data.records.manifest import MANIFEST_FILE

    if not (data / MANIFEST_FILE).is_file():
        return FaceFolder(data, identities, min_images, images)
    if images is not None:
        raise ValueError(
            "`--images` chooses files of a folder with one folder per person. "
            f"Received: {str(data)!r}, which holds records"
        )
    records = RecordSet(data)
    return records if identities is None else records.select(read_names(identities))
