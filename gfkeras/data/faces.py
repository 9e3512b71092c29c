"""Decoded faces in memory with their labels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.images import IMAGE_SIZE, FaceSize, check_images, face_size, read_image
from gfkeras.data.photos import read_photo
from gfkeras.errors import ImageError, nearest, wrong, wrong_value
from gfkeras.processors import usable_processors


@dataclasses.dataclass
class Faces:
    """Aligned face images with identities, for training and evaluation.

    Attributes:
        images: (N, 112, 112, 3), or of another `size`, uint8.
        labels: (N,) int32, indices into `identities`.
        identities: the name of each label.
        paths: the files of the images. Empty if the images came from an array.
        skipped: (file, reason) for each unusable file.
        resized: number of images of another size that were scaled to fit, as requested.
        size: height and width of the images, or one number for both.

    Raises:
        ValueError: if images and labels do not match, or a label has no identity.
    """

    images: np.ndarray
    labels: np.ndarray
    identities: list[str] = dataclasses.field(default_factory=list)
    paths: list[Path] = dataclasses.field(default_factory=list)
    skipped: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    resized: int = 0
    size: FaceSize = IMAGE_SIZE

    def __post_init__(self) -> None:
        self.images = check_images(self.images, self.size)
        labels = check_labels(self.labels)
        if len(labels) != len(self.images):
            received = f"{len(labels)} labels and {len(self.images)} images"
            raise wrong("labels", "have one entry per image", received)
        # Without names, the number of each label is its name.
        if not self.identities and len(labels):
            self.identities = [str(i) for i in range(int(labels.max()) + 1)]
        count = len(self.identities)
        if len(labels) and (labels.min() < 0 or labels.max() >= count):
            expected = f"be in 0…{count - 1}, one for each of the {count} identities"
            raise wrong("labels", expected, f"labels in {labels.min()}…{labels.max()}")
        self.labels = labels.astype(np.int32)

    def __len__(self) -> int:
        return len(self.labels)

    def require_trainable(self) -> None:
        """Raises ValueError if there are fewer than two identities."""
        check_trainable(len(np.unique(self.labels)), len(self))

    def select(self, identities: Sequence[int]) -> Faces:
        """Returns the faces of some identities, given by label, with new labels 0…n − 1."""
        # A label of −1 marks people who are not selected.
        new_label = np.full(len(self.identities), -1, np.int32)
        new_label[list(identities)] = np.arange(len(identities))
        keep = np.flatnonzero(new_label[self.labels] >= 0)
        return Faces(
            images=self.images[keep],
            labels=new_label[self.labels[keep]],
            identities=[self.identities[i] for i in identities],
            paths=[self.paths[i] for i in keep] if self.paths else [],
            size=self.size,
        )

    def split(self, holdout: int) -> tuple[Faces, Faces]:
        """Returns the faces without the last `holdout` identities, and the faces of those.

        Raises ValueError if either part is empty.
        """
        check_holdout(holdout, len(self.identities))
        order = list(range(len(self.identities)))
        return self.select(order[:-holdout]), self.select(order[-holdout:])


def check_labels(labels: Any) -> np.ndarray:
    """Returns labels as an array. Raises ValueError unless they are a vector of integers."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        received = f"labels of shape {labels.shape} and type {labels.dtype}"
        raise wrong("labels", "be a vector of integers", received)
    return labels


def check_names(names: list[str], known: Collection[str], kind: str, place: Path) -> None:
    """Raises ValueError if a name is given twice or is unknown, and suggests the nearest name."""
    missing = [name for name in names if name not in known]
    if missing:
        guess = nearest(missing[0], known)
        hint = f" (did you mean {guess!r}?)" if guess else ""
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise wrong("identities", f"name {kind} of {str(place)!r}", f"{missing[0]!r}{hint}{more}")
    if len(set(names)) < len(names):
        ((twice, _),) = Counter(names).most_common(1)
        raise wrong("identities", f"name each of the {kind} once", f"{twice!r} twice")


def check_trainable(identities: int, images: int) -> None:
    """Raises ValueError if there are fewer than two identities."""
    if identities < 2:
        raise ValueError(
            "Training needs at least two identities with images. "
            f"Received: {identities} with {images} images"
        )


def check_holdout(holdout: int, identities: int, place: str = "") -> None:
    """Raises ValueError if holding out that many identities leaves one side empty."""
    if not 0 < holdout < identities:
        expected = f"be at least 1 and fewer than the {identities} identities{place}"
        raise wrong_value("holdout", expected, holdout)


def decode_files(
    paths: Sequence[Path],
    size: FaceSize = IMAGE_SIZE,
    workers: int | None = None,
    resize: bool = False,
) -> tuple[np.ndarray, list[int], list[tuple[Path, str]], int]:
    """Decodes files with `read_image` on `workers` threads, by default one per processor.

    Returns (M, height, width, 3) uint8 images of the readable files, the index in `paths` of each,
    (path, reason) of the other files, and how many images were scaled, which needs `resize`.
    """

    def decode(path: Path) -> tuple[np.ndarray, bool] | ImageError:
        try:
            pixels = read_photo(path)
            return read_image(pixels, size, resize), pixels.shape[:2] != face_size(size)
        except ImageError as error:
            return error

    # Allocated once for all files. Unreadable files leave unused rows at the end.
    images = np.empty((len(paths), *face_size(size), 3), np.uint8)
    kept: list[int] = []
    skipped: list[tuple[Path, str]] = []
    resized = 0
    with ThreadPoolExecutor(workers or usable_processors()) as pool:
        for place, found in enumerate(pool.map(decode, paths)):
            if isinstance(found, ImageError):
                skipped.append((paths[place], found.reason))
            else:
                images[len(kept)], other = found
                resized += other
                kept.append(place)
    return images[: len(kept)], kept, skipped, resized
