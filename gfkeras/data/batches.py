"""Training batches from arrays, files or records."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from gfkeras.data.augmentation import Augmentation
from gfkeras.data.faces import check_labels
from gfkeras.data.images import IMAGE_SIZE, check_images, decode_batch, read_image
from gfkeras.data.records import RecordSet
from gfkeras.errors import positive_int, wrong, wrong_value

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Sampler(Protocol):
    """Chooses the images of each batch: P·K images of (N,) `labels`, as `IdentitySampler` does."""

    labels: np.ndarray
    images_per_identity: int
    identities_per_batch: int

    @property
    def batch_size(self) -> int: ...

    def __len__(self) -> int:
        """Returns the number of batches in an epoch."""
        ...

    def order(self, epoch: int) -> np.ndarray:
        """Returns the images of all batches of an epoch, (batches, P·K) int64."""
        ...


class FaceBatches(keras.utils.PyDataset):
    """Batches (images uint8, labels int32) for `model.fit`, on any Keras backend.

    The order of an epoch depends only on `seed` and the epoch. The augmentation of a batch depends
    only on `seed`, the epoch and the index of the batch. The number of workers has no effect, and
    you can set `epoch` to continue an earlier run. Call `fit` with shuffle=False. Otherwise Keras
    shuffles the order of the batches again, with its own random generator.

    Args:
        images: (N, 112, 112, 3) uint8, a list of files, or a `RecordSet`. Files and records are
            decoded when they are needed.
        labels: (N,) integers. The default is the labels of the records.
        batch_size: images per batch. The default is the batch size of the sampler. A batch of the
            sampler can be read in several parts of whole identities, for accumulated gradients.
        shuffle: draw a new order for every epoch.
        seed: random seed of the order and of the augmentation.
        augmentation: an `Augmentation`, or any function of (images, generator), for each batch.
            With several shards, only `Augmentation` reproduces the transforms of the whole batch.
        drop_remainder: leave out the last, smaller batch. All batches then have the same shape.
        sampler: chooses the images of each batch, from the same labels and with its own seed.
            `shuffle`, `drop_remainder` and `batches_per_epoch` are then ignored.
        batches_per_epoch: number of whole batches in an epoch, instead of as many as the images
            fill. A longer epoch goes through the images again, in a new order.
        shard: (index, count): read only the index-th of `count` equal parts of every batch, for
            worker number `index`. Together, the workers see the same batches as a single one.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of PyDataset.

    Attributes:
        epoch: number of the epoch, increased at the end of each.
        skipped: {file: reason} of the unreadable files found so far. Each is replaced by another
            image of the batch. With a sampler, this is an image of the same person if the batch
            has one.

    Raises:
        ValueError: if images, labels, sampler and batch size do not match, or if no file of a batch
            can be read.

    Example:
        faces = FaceFolder("lfw").load()
        sampler = IdentitySampler(faces.labels, identities_per_batch=8, images_per_identity=4)
        model.fit(FaceBatches(faces.images, faces.labels, sampler=sampler), shuffle=False)
    """

    def __init__(
        self,
        images: np.ndarray | Sequence[str | os.PathLike[str]] | RecordSet,
        labels: Any = None,
        batch_size: int | None = None,
        *,
        shuffle: bool = True,
        seed: int = 0,
        augmentation: Augmentation | Change | None = None,
        drop_remainder: bool = False,
        sampler: Sampler | None = None,
        shard: tuple[int, int] = (0, 1),
        batches_per_epoch: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(images, RecordSet):
            self.images: Any = images
            # These labels can be in a memory-mapped file. Ten million of them are not loaded.
            self.labels = images.labels if labels is None else check_labels(labels).astype(np.int32)
        else:
            self.images = check_images(images) if isinstance(images, np.ndarray) else list(images)
            self.labels = check_labels(labels).astype(np.int32)
        if batch_size is None and sampler is not None:
            batch_size = sampler.batch_size
        self.batch_size = positive_int("batch_size", batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.augmentation = augmentation
        self.drop_remainder = drop_remainder
        self.sampler = sampler
        self.batches_per_epoch = batches_per_epoch
        if batches_per_epoch is not None:
            positive_int("batches_per_epoch", batches_per_epoch)
        self.shard = _checked_shard(shard, self.batch_size)
        self.epoch = 0
        self._kept_order: tuple[int, np.ndarray] | None = None
        self._ordering = threading.Lock()
        self.skipped: dict[Path, str] = {}
        if self.labels.shape != (len(self.images),):
            received = f"labels of shape {self.labels.shape} and {len(self.images)} images"
            raise wrong("labels", "have one entry per image", received)
        if sampler is not None:
            self._check_sampler(sampler)
        if len(self) == 0:
            received = f"batch_size={batch_size}, {len(self.images)} images"
            raise wrong("batch_size", "be at most the number of images", received)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image, (height, width, 3)."""
        if isinstance(self.images, np.ndarray):
            return self.images.shape[1], self.images.shape[2], 3
        if isinstance(self.images, RecordSet):
            return (*self.images.image_size, 3)
        return IMAGE_SIZE, IMAGE_SIZE, 3

    def __len__(self) -> int:
        if self.sampler is not None:
            return len(self.sampler) * (self.sampler.batch_size // self.batch_size)
        if self.batches_per_epoch is not None:
            return self.batches_per_epoch
        full, rest = divmod(len(self.labels), self.batch_size)
        return full + (rest > 0 and not self.drop_remainder)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        # Read `epoch` once: another thread can change it, and one batch must use one epoch.
        return self.batch(self.epoch, index)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch number `index` of any epoch, counted from 0, whatever `epoch` is now."""
        images, labels, key = self.moved_batch(epoch, index)
        if isinstance(self.augmentation, Augmentation):
            images = self.augmentation.apply_layers(images, key)
        return images, labels

    def moved_batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns images, labels and the layers' key of a batch, without applying layers.

        Use it like `batch` if the layers of an `Augmentation` run elsewhere. The key consists of
        the two integers that `Augmentation.apply_layers` needs.
        """
        whole = self._order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        part, parts = self.shard
        mine = slice(len(whole) * part // parts, len(whole) * (part + 1) // parts)
        images, chosen = self.read(whole[mine])
        stream: tuple[int, ...] = (self.seed, epoch, 1 + index)
        key = np.zeros(2, np.int64)
        if isinstance(self.augmentation, Augmentation):
            rng = np.random.default_rng(stream)
            # Drawn for all shards, so an image gets the same numbers for any number of shards.
            uniforms = rng.random((len(whole), self.augmentation.draws))
            images = self.augmentation.host(images, uniforms[mine])
            # Each shard has its own key. Shard 0 has the key of the undivided batch.
            key = rng.integers(0, 2**31, (part + 1, 2))[-1]
        elif self.augmentation is not None:
            rng = np.random.default_rng(stream + ((part,) if part else ()))
            images = self.augmentation(images, rng)
        return images, self.labels[chosen], key

    def sharded(self, index: int, count: int) -> FaceBatches:
        """Returns the same batches, reduced to the index-th of `count` parts (see `shard`)."""
        part = copy.copy(self)
        part.shard = _checked_shard((index, count), self.batch_size)
        return part

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes: a lock cannot be pickled, and the order can be drawn again.
        return self.__dict__ | {"_ordering": None, "_kept_order": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._ordering = threading.Lock()

    def _check_sampler(self, sampler: Sampler) -> None:
        parts, rest = divmod(sampler.batch_size, self.batch_size)
        if rest or not parts or self.batch_size % sampler.images_per_identity:
            raise ValueError(
                "`batch_size` must equal the sampler's batch size, be a part of it with whole "
                "identities, or be left out. The sampler has "
                f"{sampler.identities_per_batch} · {sampler.images_per_identity} = "
                f"{sampler.batch_size}. "
                f"Received: batch_size={self.batch_size}"
            )
        if not np.array_equal(sampler.labels, self.labels):
            raise ValueError(
                "`sampler` must be made from the same labels as the batches. "
                f"Received: a sampler of {len(sampler.labels)} labels, which differ from the "
                f"{len(self.labels)} of `labels`"
            )

    def _order(self, epoch: int) -> np.ndarray:
        """Returns the images in the order of the epoch, which is drawn once for all batches."""
        with self._ordering:
            if self._kept_order is None or self._kept_order[0] != epoch:
                self._kept_order = (epoch, self._draw(epoch))
            return self._kept_order[1]

    def _draw(self, epoch: int) -> np.ndarray:
        if self.sampler is not None:
            return self.sampler.order(epoch).ravel()
        if not self.shuffle:
            return np.tile(np.arange(len(self.labels)), self._rounds)
        # The third number, 0, separates this random stream from those of the batches.
        rng = np.random.default_rng((self.seed, epoch, 0))
        return np.concatenate([rng.permutation(len(self.labels)) for _ in range(self._rounds)])

    @property
    def _rounds(self) -> int:
        """How often an epoch goes through the images, rounded up."""
        wanted = (self.batches_per_epoch or 1) * self.batch_size
        return max(1, -(-wanted // len(self.labels)))

    def read(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns images without augmentation, and the indices that were actually used.

        An unreadable image is replaced by another one of `chosen`, as in a batch.
        """
        if isinstance(self.images, np.ndarray):
            return self.images[chosen], chosen
        if isinstance(self.images, RecordSet):
            images, read, reasons = self.images.decode(chosen)
        else:
            images, read, reasons = decode_batch(
                [os.fspath(self.images[index]) for index in chosen], (IMAGE_SIZE, IMAGE_SIZE),
                read_image, str,
            )  # fmt: skip
        if read.all():
            return images, chosen
        self.skipped |= {Path(place): reason for place, reason in reasons.items()}
        if not read.any():
            place, reason = next(iter(reasons.items()))
            raise ValueError(
                f"None of a batch of {len(chosen)} images can be read. The first: {place}: {reason}"
            )
        good = np.flatnonzero(read)
        # The readable images replace the others, one after another.
        source = np.where(read, np.arange(len(chosen)), np.resize(good, len(chosen)))
        if self.sampler is not None:
            # A loss on pairs needs K images of each identity, so prefer one of the same identity.
            labels = self.labels[chosen]
            same = labels[:, None] == labels[good]
            source = np.where(~read & same.any(axis=1), good[same.argmax(axis=1)], source)
        return images[source], chosen[source]


def _checked_shard(shard: tuple[int, int], batch_size: int) -> tuple[int, int]:
    index, count = shard
    if positive_int("shard[1]", count) and not 0 <= index < count:
        raise wrong_value("shard", "be (index, count) with 0 <= index < count", shard)
    if batch_size % count:
        raise wrong("batch_size", f"be a multiple of the {count} shards", batch_size)
    return int(index), int(count)
