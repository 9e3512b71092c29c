"""Image data sets that TensorFlow Datasets has prepared."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gfkeras.data.sources.source import Item, Refused, Source
from gfkeras.errors import ImageError, by_name, require, wrong

# For a record at most this far ahead, reading on is faster than starting a new reader.
_AHEAD = 256


class TFDSSource(Source):
    """One split of a data set that `tensorflow_datasets` has prepared on disk.

    Nothing is downloaded. Images that are stored encoded are returned as the same bytes. Arrays are
    returned as PNG, which is lossless. The order is that of the files, without shuffling.

    The locator is the number of the record in the split. The files do not allow random access:
    `read` keeps a reader, continues from its position, and starts a new one for records that are
    earlier or much later. Reading in the order of `items` is fast, and random order is slow.

    Args:
        name: "lfw", "lfw:0.1.1", or the folder of a prepared version, with `dataset_info.json`.
        split: such as "train" or "train[:10%]".
        data_dir: folder of prepared data sets. The default is that of the package.
        image: name of the image feature. The default is the only image feature.
        label: name of the person feature. The default is one called label, name, identity or
            person. If there is none, identities are None.

    Raises:
        ImportError: without tensorflow_datasets.
        ValueError: for a data set that is unknown or not prepared, and for unknown features.

    Example:
        TFDSSource("lfw", split="train", data_dir="tensorflow_datasets")
    """

    format = "tfds"

    def __init__(
        self,
        name: str | os.PathLike[str],
        split: str = "train",
        data_dir: str | os.PathLike[str] | None = None,
        image: str | None = None,
        label: str | None = None,
    ):
        self.name = os.fspath(name)
        self.split = split
        self.data_dir = None if data_dir is None else os.fspath(data_dir)
        self._forget()
        builder = self._opened()
        self.path = Path(builder.data_path)
        features = builder.info.features
        by_name("split", split.partition("[")[0], builder.info.splits)
        for chosen in (image, label):
            if chosen is not None:
                by_name("feature", chosen, features)
        self.image = self._image_feature(features) if image is None else image
        usual = ("label", "name", "identity", "person")
        self.label = next((k for k in usual if k in features), None) if label is None else label

    def _forget(self) -> None:
        self._builder: Any = None
        self._reader: Iterator[Any] | None = None
        self._next = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # Attributes with an underscore are readers and locks, which cannot be pickled.
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _opened(self) -> Any:
        if self._builder is None:
            tfds = require("tensorflow_datasets", "datasets")
            if (Path(self.name) / "dataset_info.json").is_file():
                self._builder = tfds.builder_from_directory(self.name)
                return self._builder
            try:
                builder = tfds.builder(self.name, data_dir=self.data_dir)
            # The registry raises several kinds of errors, some with pages of known names.
            except (ValueError, ImportError, AttributeError, AssertionError) as error:
                expected = "be a data set of tensorflow_datasets or the folder of a prepared one"
                received = f"name={self.name!r} ({str(error).splitlines()[0]})"
                raise wrong("name", expected, received) from error
            if not (Path(builder.data_path) / "dataset_info.json").is_file():
                raise ValueError(
                    f"`name` must be a data set that is prepared on disk. Received: "
                    f"name={self.name!r}, with nothing in {str(builder.data_path)!r}. Prepare it "
                    "with tensorflow_datasets.builder(name).download_and_prepare()"
                )
            self._builder = builder
        return self._builder

    @staticmethod
    def _image_feature(features: Any) -> str:
        tfds = require("tensorflow_datasets", "datasets")
        images = [k for k, f in features.items() if isinstance(f, tfds.features.Image)]
        solid = [(k, f) for k, f in features.items() if f.shape is not None and len(f.shape) == 3]
        found = images or [k for k, f in solid if f.np_dtype == np.uint8]
        if len(found) != 1:
            received = f"image=None, and {len(found)} features could be it"
            raise wrong("image", f"name the image feature, one of {', '.join(features)}", received)
        return found[0]

    def _records(self, first: int = 0) -> Iterator[Any]:
        """Yields records from number `first` on, as dicts of NumPy values, images not decoded."""
        tfds = require("tensorflow_datasets", "datasets")
        builder = self._opened()
        plain = self.split in builder.info.splits
        # A reader can start inside a whole split. A part of a split is read from its start.
        start = tfds.core.ReadInstruction(self.split, from_=first, unit="abs")
        wanted = {key: True for key in (self.image, self.label) if key is not None}
        feature = builder.info.features[self.image]
        skip = isinstance(feature, tfds.features.Image)
        records = builder.as_dataset(
            split=start if plain and first else self.split,
            shuffle_files=False,
            # Read one file after another, in order, and keep nothing in memory.
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
            decoders=tfds.decode.PartialDecoding(
                wanted, decoders={self.image: tfds.decode.SkipDecoding()} if skip else {}
            ),
        )
        failures = require("tensorflow", "datasets").errors.OpError
        number = first
        try:
            for record in tfds.as_numpy(records if plain else records.skip(first)):
                yield record
                number += 1
        except failures as error:
            raise ValueError(
                f"{self.path}, {self.split}, record {number}: damaged ({str(error)[:200]})"
            ) from error

    def items(self) -> Iterator[Item | Refused]:
        """Yields the records of the split, named "split/00000012". The locator is the number."""
        for number, record in enumerate(self._records()):
            yield Item(f"{self.split}/{number:08d}", self._identity(record), str(number))

    def _identity(self, record: Any) -> str | None:
        if self.label is None:
            return None
        value = record[self.label]
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        feature = self._opened().info.features[self.label]
        names = getattr(feature, "int2str", None)
        return str(names(int(value))) if names else str(value)

    def read(self, locator: str) -> bytes:
        """Returns the encoded image of record number `locator`."""
        place = f"{self.path}, {self.split}, record {locator}"
        count = self._opened().info.splits[self.split].num_examples
        if not locator.isdecimal() or int(locator) >= count:
            raise ImageError(place, f"expected a number under {count}")
        try:
            record = self._record(int(locator))
        except ValueError as error:
            raise ImageError(place, str(error)) from error
        value = record[self.image]
        return value if isinstance(value, bytes) else _png(value, place)

    def _record(self, number: int) -> Any:
        with self._lock:
            reader = self._reader
            if reader is None or not 0 <= number - self._next <= _AHEAD:
                reader, self._next = self._records(number), number
            # If reading fails, the next call starts with a new reader.
            self._reader = None
            for _ in range(number - self._next):
                next(reader, None)
            record = next(reader, None)
            if record is None:
                raise ValueError("the files have fewer records than dataset_info.json states")
            self._reader, self._next = reader, number + 1
        return record

    def describe(self) -> dict[str, Any]:
        """Returns format, folder, name, version, split and features."""
        info = self._opened().info
        chosen = {"split": self.split, "image": self.image, "label": self.label}
        return super().describe() | {"name": info.name, "version": str(info.version)} | chosen


def _png(pixels: Any, place: str) -> bytes:
    array = np.asarray(pixels)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ImageError(place, f"an array of {array.dtype} {array.shape}, not a uint8 image")
    content = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(content, "PNG")
    return content.getvalue()
