"""Training batches out of memory or out of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data.images import IMAGE_SIZE, ImageError, check_images, read_image
from gfkeras.errors import positive_int

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class FaceBatches(keras.utils.PyDataset):
    """Batches (images uint8, labels int32) for `model.fit`, on any Keras backend.

    The order of an epoch depends on `seed` and the epoch only, and what happens to
    a batch on `seed`, the epoch and its index: the number of workers changes nothing,
    and setting `epoch` continues where an earlier run stopped. Give `fit` shuffle=False, or
    Keras shuffles the order of the batches besides, from a generator of its own.

    Args:
        images: (N, 112, 112, 3) uint8, or the files to decode as they are needed.
        labels: (N,) integers.
        batch_size: images a batch.
        shuffle: draw a new order every epoch.
        seed: of the order and of the augmentation.
        augmentation: called as `augmentation(images, generator)` on each batch.
        drop_remainder: leave out the last, smaller batch, so that all have one shape.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of PyDataset.

    Attributes:
        epoch: counts up at the end of each epoch.
        skipped: {file: reason} of files met so far that cannot be read; another image
            of the batch stands in for each.

    Raises:
        ValueError: if images and labels do not match, or a whole batch of files
            cannot be read.
    """

    def __init__(
        self,
        images: np.ndarray | Sequence[str | os.PathLike[str]],
        labels: Any,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        drop_remainder: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.images = check_images(images) if isinstance(images, np.ndarray) else list(images)
        self.labels = np.asarray(labels).astype(np.int32)
        self.batch_size = positive_int("batch_size", batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.augmentation = augmentation
        self.drop_remainder = drop_remainder
        self.epoch = 0
        self.skipped: dict[Path, str] = {}
        if self.labels.shape != (len(self.images),):
            raise ValueError(
                f"`labels` must have one entry per image. Received: labels of shape "
                f"{self.labels.shape} and {len(self.images)} images"
            )
        if len(self) == 0:
            raise ValueError(
                "`batch_size` must be at most the number of images. "
                f"Received: batch_size={batch_size}, {len(self.images)} images"
            )

    def __len__(self) -> int:
        full, rest = divmod(len(self.labels), self.batch_size)
        return full + (rest > 0 and not self.drop_remainder)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order()[index * self.batch_size : (index + 1) * self.batch_size]
        images, chosen = self._read(chosen)
        if self.augmentation is not None:
            rng = np.random.default_rng((self.seed, self.epoch, 1 + index))
            images = self.augmentation(images, rng)
        return images, self.labels[chosen]

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.labels))
        # The third number keeps this stream apart from those of the batches.
        return np.random.default_rng((self.seed, self.epoch, 0)).permutation(len(self.labels))

    def _read(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The images, and the indices they have in truth."""
        if isinstance(self.images, np.ndarray):
            return self.images[chosen], chosen
        images: dict[int, np.ndarray] = {}
        for index in chosen:
            path = Path(self.images[index])
            try:
                images[index] = read_image(path, IMAGE_SIZE)
            except ImageError as error:
                self.skipped[path] = error.reason
        if not images:
            path = Path(self.images[chosen[0]])
            raise ValueError(
                f"None of a batch of {len(chosen)} images can be read; "
                f"the first: {path}: {self.skipped[path]}"
            )
        good = np.fromiter(images, np.int64)
        chosen = np.where(np.isin(chosen, good), chosen, np.resize(good, len(chosen)))
        return np.stack([images[index] for index in chosen]), chosen
