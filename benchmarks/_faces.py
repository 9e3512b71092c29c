"""Faces and networks for benchmarks: given ones, those next to the project, or synthetic ones."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.data.jpeg import encode_jpeg
from gfkeras.data.sources import Item, NamedPair, Refused

if TYPE_CHECKING:
    import keras  # imported late: its memory would count in the memory of the data readers

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("GFKERAS_DATA", ROOT.parent / "shared" / "data"))


def aligned_folder(given: Path | None) -> Path:
    """Returns the given folder, else LFW next to the project. Ends the benchmark without one."""
    if given is None:
        need(SHARED / "lfw_aligned112")
    folder = given or SHARED / "lfw_aligned112"
    if not folder.is_dir():
        raise SystemExit(f"no folder of aligned faces at {folder}")
    return folder


def need(*paths: Path) -> None:
    """Ends the benchmark without a failure if a file that it needs is missing."""
    for path in paths:
        if not path.exists():
            print(f"left out: there is no {path}. Set GFKERAS_DATA to its folder")
            raise SystemExit(0)


def ms1m() -> keras.Model:
    """Imports InsightFace's MobileFaceNet, trained on MS1M. Ends the benchmark without the file."""
    from gfkeras.zoo import import_weights

    file = SHARED / "models" / "mobilefacenet_ms1m-0000.params"
    need(file)
    return import_weights(file)


@contextlib.contextmanager
def tflite_of(given: str | None) -> Iterator[Path]:
    """Yields the given .tflite file, or a temporary one of `ms1m`."""
    if given:
        yield Path(given)
        return
    from gfkeras.export import export_model

    with tempfile.TemporaryDirectory() as folder:
        yield export_model(ms1m(), Path(folder) / "ms1m.tflite")


class MadeFaces:
    """A source of any number of different 112×112 JPEGs that needs no disk space.

    Every image is one of 64 noisy images with its number in a JPEG comment. No two files are equal,
    so each one has to be decoded.

    Args:
        count: number of images.
        per_identity: number of images of each person.
    """

    format = "made"

    def __init__(self, count: int, per_identity: int = 100):
        self.path = Path("made")
        self.count = count
        self.per_identity = per_identity
        rng = np.random.default_rng(0)
        self.pictures = []
        # Make them one by one, so that making them does not cause the peak of memory.
        for _ in range(64):
            smooth = rng.integers(0, 256, (14, 14, 3)).repeat(8, axis=0).repeat(8, axis=1)
            pixels = smooth + rng.integers(-20, 21, (112, 112, 3))
            self.pictures.append(encode_jpeg(np.clip(pixels, 0, 255).astype(np.uint8), 80))

    def items(self):
        """Yields the items in order."""
        for number in range(self.count):
            identity = f"person{number // self.per_identity:07d}"
            yield Item(f"{identity}/{number:09d}.jpg", identity, str(number))

    def read(self, locator: str) -> bytes:
        """Returns an image with a comment after its first marker."""
        # A hash, so that neighbouring records do not have neighbouring images.
        picture = self.pictures[int(hashlib.md5(locator.encode()).hexdigest(), 16) % 64]
        comment = locator.encode()
        # A JPEG comment: marker FFFE, then the length of the comment including these two bytes.
        marker = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        return picture[:2] + marker + picture[2:]

    def pairs(self) -> NamedPair | Refused | None:
        """Returns None: the source has no pairs."""
        return None

    def describe(self) -> dict:
        """Returns the source's arguments."""
        return {"format": self.format, "count": self.count, "per_identity": self.per_identity}
