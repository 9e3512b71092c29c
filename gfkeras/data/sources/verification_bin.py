"""InsightFace's verification sets: `lfw.bin`, `cfp_fp.bin`, `agedb_30.bin` and others."""

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
    """Pairs of encoded images in a pickle: a list of 2N images, and N answers "same or not".

    A pickle can name any function for Python to call, so nothing in the file is run. Only lists,
    numbers, bytes and NumPy arrays of numbers are read, in all forms that Python 2 and 3 write.
    Answers are booleans or 0 and 1, in a list or in an array (N,) or (N, 1). The images stay in the
    file, and 17 bytes of memory per image store where they are.

    Args:
        path: the `.bin` file.

    Raises:
        UnsafePickleError: for a pickle that contains or does anything else.
        ValueError: for a file that is missing, truncated or damaged, or does not have two images
            for each answer.

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
        # Arrays (N, 1) can become [[True], [False]], and single elements can be arrays.
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
        # With encoding="bytes", Python would read the text of protocols 0 to 2 as an image too.
        # gfkeras accepts only values that the pickle itself declares as bytes.
        if type(image) is Span and not image.is_text:
            return image
        raise self._wrong(f"image {number} as bytes or a uint8 array", _kind(image))

    def _wrong(self, expected: str, received: str = "something else") -> ValueError:
        return ValueError(f"{self.path}: expected {expected}. Received: {received}")

    def __len__(self) -> int:
        return len(self._offsets)

    def items(self) -> Iterator[Item | Refused]:
        """Yields the images "000000.jpg", …, without identities. Pair i is images 2i and 2i + 1.

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
        """Returns the encoded image at "offset:length:coding"."""
        place = f"{self.path}, image at {locator}"
        try:
            offset, length, coding = locator.split(":")
            if coding not in CODINGS:
                raise ValueError(f"expected a coding of {', '.join(CODINGS)}")
            return Span(self._bytes, int(offset), int(length), coding).read()
        except ValueError as error:
            raise ImageError(place, str(error)) from error

    def pairs(self) -> Iterator[NamedPair] | None:
        """Returns the pairs in order, in ten contiguous folds of nearly equal size.

        The folds are those of `sklearn.model_selection.KFold(10, shuffle=False)`, which
        InsightFace's evaluation uses.
        """
        parts = np.array_split(self._same, FOLDS)
        folds = np.repeat(np.arange(FOLDS), [len(part) for part in parts]).tolist()
        return (
            NamedPair(_name(2 * number), _name(2 * number + 1), same, fold)
            for number, (same, fold) in enumerate(zip(self._same.tolist(), folds, strict=True))
        )

    def describe(self) -> dict[str, Any]:
        """Returns format, path, and the size of the file in bytes."""
        return {**super().describe(), "bytes": self._bytes.size}


def _name(number: int) -> str:
    return f"{number:06d}.jpg"


def _only(answer: Any) -> Any:
    """Returns the single element of an array or a list, and any other answer unchanged."""
    # A larger array is not an answer. It is not read, because a file can refer to it many times.
    small = type(answer) is Array and answer.data is not None and answer.data.length <= 16
    values = answer.values() if small else answer
    return values[0] if type(values) in (list, tuple) and len(values) == 1 else values


def _kind(value: Any) -> str:
    """Returns the kind of a value, for messages, which must not show unknown contents."""
    if type(value) is Span:
        return "text" if value.is_text else "bytes"
    return {Array: "an array"}.get(type(value), type(value).__name__)
