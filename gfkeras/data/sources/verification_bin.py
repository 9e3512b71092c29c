"""Verification sets of InsightFace: `lfw.bin`, `cfp_fp.bin`, `agedb_30.bin` and the like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gfkeras.data.file_bytes import FileBytes
from gfkeras.data.sources import listing
from gfkeras.data.sources.restricted_pickle import CODINGS, Array, Span, read_pickle
from gfkeras.data.sources.source import Item, NamedPair, Refused, Source
from gfkeras.errors import ImageError
from gfkeras.files import PathLike

FOLDS = 10


class VerificationBinSource(Source):
    """Pairs of encoded images in a pickle: a list of 2N images, and N times "same or not".

    Nothing in the file is run, since a pickle may name any function for Python to call. Only lists,
    numbers, bytes and NumPy's arrays of numbers are read, in all the forms that Python 2 and 3
    write them. Answers are booleans or 0 and 1, in a list or in an array of (N,) or (N, 1). Images
    stay in the file; 17 bytes an image tell where they lie.

    Args:
        path: the `.bin` file.

    Raises:
        UnsafePickleError: for a pickle that holds or does anything else.
        ValueError: for a file that is missing, cut short or damaged, or without two images for each
            answer.

    Example:
        source = VerificationBinSource("lfw.bin")
        next(source.pairs())            # NamedPair("000000.jpg", "000001.jpg", True, fold=0)
    """

    format = "bin"

    def __init__(self, path: PathLike):
        self.path = listing.existing_file("path", path, "a verification set in InsightFace's .bin")
        self._bytes = FileBytes(self.path)
        images, self._same = self._lists(read_pickle(self._bytes))
        spans = [self._image(number, image) for number, image in enumerate(images)]
        self._offsets = np.array([span.offset for span in spans], np.int64)
        self._lengths = np.array([span.length for span in spans], np.int64)
        self._codings = np.array([CODINGS.index(span.coding) for span in spans], np.uint8)

    def _lists(self, content: Any) -> tuple[list[Any] | tuple[Any, ...], np.ndarray]:
        if type(content) not in (tuple, list) or len(content) != 2:
            raise self._wrong("a pickle of two lists: images, and whether pairs are the same")
        images, answers = content
        if type(images) not in (list, tuple) or type(answers) not in (list, tuple, Array):
            received = f"{_kind(images)} and {_kind(answers)}"
            raise self._wrong("a list of images and one of booleans", received)
        if type(answers) is Array:
            answers = answers.values()
        # [[True], [False]] and arrays of one element are what (N, 1) arrays turn into.
        answers = [_only(answer) for answer in answers]
        for number, answer in enumerate(answers):
            if type(answer) not in (bool, int, float) or answer not in (0, 1):
                shown = answer if type(answer) in (int, float) else _kind(answer)
                raise self._wrong("a boolean for each pair", f"{shown} for pair {number}")
        same = [bool(answer) for answer in answers]
        if len(images) != 2 * len(same):
            received = f"{len(images)} images and {len(same)} answers"
            raise self._wrong("two images for each answer", received)
        return images, np.array(same, np.bool_)

    def _image(self, number: int, image: Any) -> Span:
        if type(image) is Array and image.dtype == "u1" and image.data is not None:
            return image.data
        # Read with encoding="bytes", text of protocol 0 to 2 would be an image too; ours are
        # bytes, as pickle has them.
        if type(image) is Span and not image.is_text:
            return image
        raise self._wrong(f"image {number} as bytes or a uint8 array", _kind(image))

    def _wrong(self, expected: str, received: str = "something else") -> ValueError:
        return ValueError(f"{self.path}: expected {expected}. Received: {received}")

    def __len__(self) -> int:
        return len(self._offsets)

    def items(self) -> Iterator[Item | Refused]:
        """The images "000000.jpg", …, without identities; pair i is images 2i and 2i + 1.

        The locator is "offset:length:coding" of the encoded image in the file.
        """
        columns = (self._offsets, self._lengths, self._codings)
        for number, (offset, length, coding) in enumerate(zip(*columns, strict=True)):
            name = _name(number)
            if length:
                yield Item(name, None, f"{offset}:{length}:{CODINGS[coding]}")
            else:
                yield Refused(name, "no bytes")

    def read(self, locator: str) -> bytes:
        """The encoded image at "offset:length:coding"."""
        place = f"{self.path}, image at {locator}"
        try:
            offset, length, coding = locator.split(":")
            if coding not in CODINGS:
                raise ValueError(f"expected a coding of {', '.join(CODINGS)}")
            return Span(self._bytes, int(offset), int(length), coding).read()
        except ValueError as error:
            raise ImageError(place, str(error)) from error

    def pairs(self) -> Iterator[NamedPair] | None:
        """The pairs in order, in ten contiguous folds as even as can be.

        That is `sklearn.model_selection.KFold(10, shuffle=False)`, as in InsightFace's evaluation.
        """
        parts = np.array_split(self._same, FOLDS)
        folds = np.repeat(np.arange(FOLDS), [len(part) for part in parts]).tolist()
        return (
            NamedPair(_name(2 * number), _name(2 * number + 1), same, fold)
            for number, (same, fold) in enumerate(zip(self._same.tolist(), folds, strict=True))
        )

    def describe(self) -> dict[str, Any]:
        """Format, path, and the file's size in bytes."""
        return {**super().describe(), "bytes": self._bytes.size}


def _name(number: int) -> str:
    return f"{number:06d}.jpg"


def _only(answer: Any) -> Any:
    """The one element of an answer that is an array or a list; else the answer."""
    # A larger one may stand there many times over; it is no answer, and is not read.
    small = type(answer) is Array and answer.data is not None and answer.data.length <= 16
    values = answer.values() if small else answer
    return values[0] if type(values) in (list, tuple) and len(values) == 1 else values


def _kind(value: Any) -> str:
    """The kind of a value, for messages; never its contents, which may be anything."""
    if type(value) is Span:
        return "text" if value.is_text else "bytes"
    return {Array: "an array"}.get(type(value), type(value).__name__)
