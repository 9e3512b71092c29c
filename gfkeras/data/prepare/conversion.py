"""Second stage of `prepare`: converting the images of one chunk to JPEGs of the final size."""

import dataclasses
import hashlib
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from gfkeras.data.alignment import FaceAligner, NoFaceError
from gfkeras.data.images import read_image
from gfkeras.data.jpeg import encode_jpeg
from gfkeras.data.photos import read_photo
from gfkeras.data.prepare.plan import Plan
from gfkeras.data.sources import Item, Refused, Source
from gfkeras.errors import ImageError
from gfkeras.files import parsed_json, replacing

# A chunk file has the JPEGs, then one line of JSON for each outcome, then the start of those lines.
_END = struct.Struct("<Q")
_EXIF_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class Converted:
    """A JPEG in a chunk file, made from item number `item` of the source.

    The name is that of the item. Further faces of the same photo get "#2" and so on. `fitted`
    images had another size and were scaled to fit, without alignment.
    """

    item: int
    name: str
    identity: str | None
    offset: int
    length: int
    digest: str
    fitted: bool


@dataclasses.dataclass(frozen=True)
class Skipped:
    """An item without a JPEG, with a `kind` for counting and a `reason` as text."""

    item: int
    name: str
    kind: str
    reason: str


def digest(jpeg: bytes) -> str:
    """Returns a digest. Equal JPEGs have equal digests."""
    return hashlib.blake2b(jpeg, digest_size=16).hexdigest()


def outcomes(path: Path) -> Iterator[Converted | Skipped]:
    """Returns the outcome of each item of a chunk, in order. Raises ValueError if damaged."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        try:
            file.seek(size - _END.size)
            (images,) = _END.unpack(file.read())
            file.seek(images)
            lines = file.read(size - _END.size - images).splitlines()
            rows = [parsed_json(line) for line in lines]
        except (OSError, struct.error, ValueError, OverflowError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    for row in rows:
        # The number of fields tells the two kinds of rows apart.
        yield Converted(*row) if len(row) == len(dataclasses.fields(Converted)) else Skipped(*row)


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The data that a worker needs for any chunk. `aligner` is None for aligned images."""

    source: Source
    plan: Plan
    folder: Path
    aligner: FaceAligner | None
    size: int
    quality: int
    resize: bool

    def path(self, chunk: int) -> Path:
        """Returns the file of a chunk."""
        return self.folder / f"{chunk:08d}.chunk"


def convert_chunk(conversion: Conversion, chunk: int) -> int:
    """Converts the items of a chunk into its file, and returns the number of items."""
    items = conversion.plan.chunk(chunk)
    rows: list[tuple[object, ...]] = []
    with replacing(conversion.path(chunk)) as temporary, temporary.open("wb") as file:
        for number, item in items:
            name = item.name
            if isinstance(item, Refused):
                rows.append((number, name, item.kind, item.reason))
                continue
            try:
                for position, (jpeg, fitted) in enumerate(_converted(conversion, item)):
                    face = f"{name}#{position + 1}" if position else name
                    place = (file.tell(), len(jpeg), digest(jpeg))
                    rows.append((number, face, item.identity, *place, fitted))
                    file.write(jpeg)
            except ImageError as error:
                rows.append((number, name, error.kind, error.reason))
        end = _END.pack(file.tell())
        file.write("".join(f"{json.dumps(row)}\n" for row in rows).encode() + end)
    return len(items)


def _converted(conversion: Conversion, item: Item) -> list[tuple[bytes, bool]]:
    """Returns the JPEGs of the faces of an item, each with whether it was scaled to fit."""
    content = conversion.source.read(item.locator)
    if conversion.aligner is not None:
        faces = conversion.aligner.faces(content, item.landmarks)
        if not faces:
            raise NoFaceError(item.name, "no face found")
        return [(encode_jpeg(face.image, conversion.quality), False) for face in faces]
    # Always decode the file: only decoding shows that it is complete.
    pixels = read_photo(content)
    size = conversion.size
    # The original bytes are kept if possible, because encoding again would lose quality.
    if pixels.shape[:2] == (size, size) and _is_upright_jpeg(content):
        return [(content, False)]
    face = read_image(pixels, size, conversion.resize)
    return [(encode_jpeg(face, conversion.quality), pixels.shape[:2] != (size, size))]


def _is_upright_jpeg(content: bytes) -> bool:
    """Whether an image is an upright RGB JPEG, which every reader shows in the same way."""
    if not content.startswith(b"\xff\xd8"):
        return False
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        upright = image.getexif().get(_EXIF_ORIENTATION, 1) == 1
        return upright and image.format == "JPEG" and image.mode == "RGB"
