"""Templates of people, and matches with them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gfkeras.errors import wrong
from gfkeras.evaluation.similarity import unit

Floats = npt.NDArray[np.float32]


class _Embedded(Protocol):
    @property
    def embedding(self) -> npt.NDArray[Any]: ...
    @property
    def group_feature(self) -> npt.NDArray[Any] | None: ...


# Enrolment and search accept `Embeddings`, the `FileEmbeddings` of files, or an array, (N, D).
Embedded = _Embedded | npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Templates:
    """The templates of N people.

    A template is the mean of the unit embeddings of a person's photos, stored as direction (N, D)
    and length (N,), above 0 and at most 1. The length measures how similar the photos are. It is
    also needed to add further photos to the mean exactly. Group features (N, G), or None, are
    stored in the same way, with length 0 if v̂ is 0. `photos` (N,) is the number of photos in the
    mean.
    """

    names: list[str]
    embedding: Floats
    group_feature: Floats | None
    photos: npt.NDArray[np.int32]
    length: Floats
    group_length: Floats

    def __len__(self) -> int:
        return len(self.names)

    @property
    def widths(self) -> tuple[int, int | None]:
        """The widths (D, G), with G = None without groups."""
        group = self.group_feature
        return self.embedding.shape[1], None if group is None else group.shape[1]

    def take(self, rows: npt.ArrayLike) -> Templates:
        """Returns the templates at positions `rows`."""
        rows = np.asarray(rows, np.int64)
        kept: list[Any] = [None if column is None else column[rows] for column in self._columns()]
        return Templates([self.names[row] for row in rows], *kept)

    def joined(self, other: Templates) -> Templates:
        """Returns these templates followed by the others.

        Either both have group features or neither has.
        """
        pairs = zip(self._columns(), other._columns(), strict=True)
        joined: list[Any] = [None if pair[0] is None else np.concatenate(pair) for pair in pairs]
        return Templates(self.names + other.names, *joined)

    def _columns(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)[1:]]


def average(names: str | Sequence[str], embeddings: Embedded) -> Templates:
    """Returns the templates of people in the order in which they first appear.

    Raises ValueError if names or embeddings are invalid (see `Gallery.add`), or if the photos of
    one person cancel out.
    """
    embedding, group = unit_rows(embeddings)
    listed = listed_names(names)
    if isinstance(names, str):
        listed *= len(embedding)
    if len(listed) != len(embedding):
        expected = f"be one name, or one for each of {len(embedding)} embeddings"
        raise wrong("names", expected, f"{len(listed)} names")
    for name in listed:
        check_name(name)
    people = list(dict.fromkeys(listed))
    number = {name: row for row, name in enumerate(people)}
    rows = np.array([number[name] for name in listed])
    photos = np.bincount(rows, minlength=len(people)).astype(np.int32)
    embedding, length = _means(embedding, rows, photos)
    if group is not None:
        group, group_length = _means(group, rows, photos)
    else:
        group_length = np.zeros(len(people), np.float32)
    found = Templates(people, embedding, group, photos, length, group_length)
    require_direction(found)
    return found


def merge(old: Templates, new: Templates) -> Templates:
    """Returns the templates of the same people over the photos of both.

    Raises ValueError if the photos of one person cancel out.
    """
    weights = (old.photos, new.photos)
    photos = old.photos + new.photos
    embedding, length = _joined((old.embedding, old.length), (new.embedding, new.length), *weights)
    group, group_length = None, old.group_length
    if old.group_feature is not None and new.group_feature is not None:
        group, group_length = _joined(
            (old.group_feature, old.group_length), (new.group_feature, new.group_length), *weights
        )
    found = Templates(old.names, embedding, group, photos, length, group_length)
    require_direction(found)
    return found


def listed_names(names: Any) -> list[Any]:
    """Returns one name or several as a list, in the form NFC as the names of folders.

    Raises ValueError for a set and for other objects.
    """
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Iterable) or isinstance(names, Mapping | Set | bytes):
        raise wrong("names", "be a name or a list of names", type(names).__name__)
    return [unicodedata.normalize("NFC", name) if isinstance(name, str) else name for name in names]


def check_name(name: object) -> None:
    """Raises ValueError if a name is empty, is not text or cannot be stored."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise wrong("names", "be texts that are not empty and have no NUL character", repr(name))
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"`names` must be valid Unicode. Received: {name!r}") from error


def require_direction(templates: Templates) -> None:
    """Raises ValueError if a person's photos cancel out and have no mean direction."""
    weak = np.flatnonzero(templates.length < 1e-6)
    if len(weak):
        raise ValueError(
            f"The photos of {templates.names[weak[0]]!r} cancel out: their mean embedding is 0."
        )


def unit_rows(embeddings: Embedded) -> tuple[Floats, Floats | None]:
    """Returns L2-normalised embeddings and group features (or None).

    Raises ValueError if a value is not finite, an embedding is zero or a shape is wrong.
    """
    columns: tuple[Any, Any] = (embeddings, None)
    if not isinstance(embeddings, np.ndarray | list | tuple):
        if not hasattr(embeddings, "embedding"):
            expected = "be the result of an Embedder or an array of shape (N, D)"
            raise wrong("embeddings", expected, type(embeddings).__name__)
        columns = (embeddings.embedding, getattr(embeddings, "group_feature", None))
    try:
        embedding: Floats = np.asarray(columns[0], np.float32)
        group: Floats | None = None if columns[1] is None else np.asarray(columns[1], np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`embeddings` must hold numbers. Received: {error}") from error
    if embedding.ndim != 2 or not embedding.size:
        raise wrong("embeddings", "hold (N, D) numbers, N ≥ 1", f"shape {embedding.shape}")
    if group is not None and (group.ndim != 2 or len(group) != len(embedding)):
        expected = f"have a group feature for each of {len(embedding)} rows"
        raise wrong("embeddings", expected, f"shape {group.shape}")
    for name, rows in (("embedding", embedding), ("group feature", group)):
        if rows is not None and not np.isfinite(rows).all():
            bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise ValueError(f"`embeddings` must be finite. Received: {name} of row {bad}")
    empty = np.flatnonzero(~embedding.any(axis=1))
    if len(empty):
        raise ValueError(f"`embeddings` must not be zero. Received: row {empty[0]} is all 0")
    return unit(embedding), None if group is None else unit(group)


def model_of(embeddings: Embedded) -> str | None:
    """Returns the fingerprint of the model of embeddings, or None if they do not have it."""
    return getattr(embeddings, "model", None)


def _means(
    rows: Floats, person: npt.NDArray[np.int64], photos: npt.NDArray[np.int32]
) -> tuple[Floats, Floats]:
    """Returns direction and length of each person's mean row. Rows have length 1 or 0."""
    if len(photos) == len(rows):
        # With one photo per person, there is nothing to average. Most galleries start like this.
        return rows, np.asarray(rows.any(axis=1), np.float32)
    order = np.argsort(person, kind="stable")
    starts = np.cumsum(photos) - photos
    sums = np.add.reduceat(rows[order].astype(np.float64), starts, axis=0)
    return _direction(sums / photos[:, None])


def _joined(
    old: tuple[Floats, Floats], new: tuple[Floats, Floats], few: npt.NDArray, more: npt.NDArray
) -> tuple[Floats, Floats]:
    parts = zip((old, new), (few, more), strict=True)
    sums = sum(
        (rows.astype(np.float64) * (length * photos)[:, None] for (rows, length), photos in parts),
        start=np.zeros(old[0].shape),
    )
    return _direction(sums / (few + more)[:, None])


def _direction(means: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
    length = np.linalg.norm(means, axis=1)
    directions = means / np.maximum(length, np.finfo(np.float64).tiny)[:, None]
    return directions.astype(np.float32), np.asarray(length, np.float32)


@dataclass(frozen=True, slots=True)
class Match:
    """A person of a gallery as a match for a probe.

    The search ranks by `similarity`, the cosine or the group-aware one. `photos` is the number of
    photos in the person's template.
    """

    name: str
    similarity: float
    cosine: float
    photos: int
