"""From the bytes of a source's item to JPEGs of the records' size; runs in worker processes."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from PIL import Image

from gfkeras.data.alignment import FaceAligner, NoFaceError
from gfkeras.data.images import ImageError, read_image
from gfkeras.data.jpeg import encode_jpeg
from gfkeras.data.prepare.chunk import ChunkWriter
from gfkeras.data.prepare.plan import Plan
from gfkeras.data.sources import Item, Source

_EXIF_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What a worker needs for any chunk.

    Attributes:
        source: where the bytes come from.
        plan: the list of items.
        folder: of the chunk files.
        aligner: finds and warps faces; None where images are aligned already.
        size: side of the images where there is no aligner.
        quality: of JPEGs encoded anew.
    """

    source: Source
    plan: Plan
    folder: Path
    aligner: FaceAligner | None
    size: int
    quality: int

    def path(self, chunk: int) -> Path:
        """The file of a chunk."""
        return self.folder / f"{chunk:08d}.chunk"


def convert_chunk(conversion: Conversion, chunk: int) -> int:
    """Converts the items of a chunk into its file; returns how many items those were."""
    items = conversion.plan.chunk(chunk)
    with ChunkWriter(conversion.path(chunk)) as writer:
        for number, item, name, refused in items:
            if item is None:
                writer.skip(number, name, "refused", refused)
                continue
            try:
                for position, (jpeg, fitted) in enumerate(_converted(conversion, item)):
                    face = f"{name}#{position + 1}" if position else name
                    writer.add(number, face, item.identity, jpeg, fitted)
            except ImageError as error:
                writer.skip(number, name, error.kind, error.reason)
    return len(items)


def _converted(conversion: Conversion, item: Item) -> list[tuple[bytes, bool]]:
    """The JPEGs of an item's faces, each with whether it was scaled to fit."""
    content = conversion.source.read(item.locator)
    if conversion.aligner is not None:
        faces = conversion.aligner.faces(content, item.landmarks)
        if not faces:
            raise NoFaceError(item.name, "no face found")
        return [(encode_jpeg(face.image, conversion.quality), False) for face in faces]
    # Decoded in any case: that is what shows a file to be whole.
    pixels = read_image(content, conversion.size)
    same_size, unchanged = _header(content, conversion.size)
    jpeg = content if unchanged else encode_jpeg(pixels, conversion.quality)
    return [(jpeg, not same_size)]


def _header(content: bytes, size: int) -> tuple[bool, bool]:
    """Whether an image has the size already, and whether it can be stored as it is."""
    with Image.open(io.BytesIO(content)) as image:
        same_size = image.size == (size, size)
        unchanged = (
            same_size
            and image.format == "JPEG"
            and image.mode == "RGB"
            and image.getexif().get(_EXIF_ORIENTATION, 1) == 1
        )
    return same_size, unchanged
