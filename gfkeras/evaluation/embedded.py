"""Embeddings of a list of images, checked once for all protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.similarity import unit


class ImageEmbeddings(Protocol):
    """Embeddings of the M readable images of a list, such as `gfkeras.inference.FileEmbeddings`.

    Attributes:
        embedding: (M, D), L2-normalised.
        group_feature: (M, G) or None for a network without groups.
        norm: (M,) length of each embedding before normalisation, or None if unknown.
        index: (M,) position in the list of each readable image, ascending.
        skipped: the unreadable images, each with the reason.
    """

    @property
    def embedding(self) -> npt.NDArray[Any]: ...
    @property
    def group_feature(self) -> npt.NDArray[Any] | None: ...
    @property
    def norm(self) -> npt.NDArray[Any] | None: ...
    @property
    def index(self) -> npt.NDArray[Any]: ...
    @property
    def skipped(self) -> Sequence[tuple[Any, str]]: ...


Embed = Callable[[list[Any]], ImageEmbeddings]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Checked embeddings of a list of N images, M of which are readable. See `ImageEmbeddings`."""

    embedding: npt.NDArray[np.float32]
    group_feature: npt.NDArray[np.float32] | None
    norm: npt.NDArray[np.float32] | None
    # (N,) the row of each image in the arrays above, or −1 if the image was not readable.
    row: npt.NDArray[np.int64]
    skipped: list[tuple[Any, str]]


def embed_images(embed: Embed, images: Sequence[Any], some_readable: bool = True) -> Embedded:
    """Embeds images with a function such as `Embedder.embed_files`, and checks the result.

    Raises ValueError if there are no images, if none is readable (unless `some_readable` is false),
    if the arrays do not fit each other, or if an embedding is not finite.
    """
    images = list(images)
    if not images:
        raise ValueError("A protocol needs at least one image. Received: no images")
    found = embed(images)
    index = np.asarray(found.index, np.int64).reshape(-1)
    skipped = [(image, str(reason)) for image, reason in found.skipped]
    embedding = np.asarray(found.embedding)
    if embedding.ndim != 2 or len(embedding) != len(index):
        raise ValueError(
            "`embed` must return one embedding row for each entry of `index`. "
            f"Received: embedding of shape {embedding.shape}, index of shape {index.shape}"
        )
    if not len(index) and some_readable:
        reason = " The first: {}: {}".format(*skipped[0]) if skipped else ""
        raise ValueError(f"None of the {len(images)} images could be read.{reason}")
    group = None if found.group_feature is None else np.asarray(found.group_feature, np.float32)
    norm = None if found.norm is None else np.asarray(found.norm, np.float32)
    for name, rows in (("embedding", embedding), ("group feature", group), ("norm", norm)):
        if rows is None:
            continue
        if len(rows) != len(index):
            raise ValueError(
                f"`embed` must return one {name} for each of {len(index)} rows. "
                f"Received: {len(rows)}"
            )
        finite = np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))
        if not finite.all():
            bad = images[index[np.flatnonzero(~finite)[0]]]
            raise ValueError(f"The {name} of {bad} is not finite.")
    row = np.full(len(images), -1, np.int64)
    row[index] = np.arange(len(index))
    # Normalise again: functions other than `Embedder.embed_files` may return any length.
    return Embedded(unit(embedding), group, norm, row, skipped)
