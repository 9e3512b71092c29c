"""The gallery: enrolment of people and exact search by their faces."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from gfkeras.errors import nearest, one_of, positive_int
from gfkeras.evaluation.similarity import COSINE, Similarity
from gfkeras.inference.gallery.column import STORAGES, joined_names, split_names
from gfkeras.inference.gallery.exact_search import exact_search
from gfkeras.inference.gallery.face_index import FaceIndex
from gfkeras.inference.gallery.gallery_file import read_gallery_file, write_gallery_file
from gfkeras.inference.gallery.row_index import RowIndex
from gfkeras.inference.gallery.templates import (
    Embedded,
    Match,
    Templates,
    average,
    merge,
    unit_rows,
)

Names = str | Sequence[str]


class Gallery:
    """Enrols people and finds the most similar of them, exactly.

    A gallery keeps one template of each person: the mean of the unit embeddings of all photos, and
    of the unit group features v̂ where the network has groups.

    In this process, changes stay in memory until `save`, which replaces the file as a whole. A
    reader sees the old gallery or the new one, and a process that is killed loses only what came
    after the last `save`. A file is mapped, not read into memory, and all processes that search it
    share its pages. In Milvus every change is stored when its call returns.

    The embeddings of two models cannot be compared. A gallery is of the model that made its first
    embeddings, or that `metadata` names, and refuses those of another. Embeddings that do not name
    a model (`Embeddings.model` is None) are accepted.

    Several threads may search a gallery at once, but only one may change it.

    Args:
        location: None for memory; a file ("faces.gallery"), opened if it exists; a folder ending in
            ".db" for Milvus Lite ("faces.milvus.db"), which one process can open at a time; or the
            URL of a Milvus cluster ("http://host:19530/database").
        storage: "float32", "float16" or "int8". int8 takes one byte a dimension, as FaceNet does.
            Search is exact on the stored values. A gallery keeps its storage. Milvus has float32
            only.
        token: of a Milvus cluster.
        metadata: texts kept with a new gallery: "model", the fingerprint of its model
            (`Embedder.fingerprint`), "model_name" and others. One that is opened keeps its own.

    Raises:
        ValueError: for a file that is damaged or no gallery, and for arguments out of range.
        ImportError: naming the extra `milvus`, for a gallery in Milvus without it.

    Example:
        gallery = Gallery("faces.gallery")
        gallery.add("Ann", embedder(photos_of_ann))
        gallery.save()
        (matches,) = gallery.search(embedder(probe), k=5, similarity=GROUP_AWARE)
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | None = None,
        storage: str | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ):
        if storage is not None:
            one_of("storage", storage, STORAGES)
        self.location = None if location is None else os.fspath(location)
        self.metadata = dict(metadata or {})
        self._index: FaceIndex
        if self.location is not None and is_milvus(self.location):
            from gfkeras.inference.gallery.milvus_index import MilvusIndex

            index = MilvusIndex(self.location, token, storage, self.metadata)
            self._index, self.storage, self.metadata = index, index.storage, index.metadata
            return
        if token is not None:
            raise ValueError("`token` goes with the URL of a Milvus cluster.")
        if self.location is not None and Path(self.location).exists():
            self._open(Path(self.location), storage)
            return
        self.storage = storage or "float32"
        self._index = RowIndex(self.storage)

    @classmethod
    def load(cls, path: str | os.PathLike[str], token: str | None = None) -> Gallery:
        """Opens a gallery; raises ValueError for one that is missing or damaged."""
        location = os.fspath(path)
        if "://" not in location and not Path(location).exists():
            raise ValueError(
                f"`path` must be a gallery. Received: {location!r}, which is not there"
            )
        return cls(location, token=token)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._index.known([name]))

    @property
    def names(self) -> list[str]:
        """Everybody, sorted."""
        return sorted(self._index.names())

    @property
    def widths(self) -> tuple[int, int | None] | None:
        """(D, G): width of embeddings and group features, G None without; None while empty."""
        return self._index.widths

    def templates(self, names: Sequence[str] | None = None) -> Templates:
        """The templates of people in the gallery, of everybody by default, sorted by name."""
        chosen = self.names if names is None else list(names)
        self._require_known(chosen)
        if not chosen:
            raise ValueError("`names` must name at least one person. Received: none")
        return self._index.get(chosen)

    def template(self, name: str) -> Templates:
        """One person's template."""
        return self.templates([name])

    def add(self, names: Names, embeddings: Embedded) -> None:
        """Enrols people who are not in the gallery yet. After an error nobody was enrolled.

        Args:
            names: one person, whose photos all rows are, or one name a row.
            embeddings: what an `Embedder` gave for the photos.

        Raises:
            ValueError: for somebody who is in the gallery; for embeddings of another width than the
                gallery's or of another model, not finite or zero; for empty names.
        """
        new = self._averaged(names, embeddings)
        if there := self._index.known(new.names):
            raise ValueError(
                f"`names` must not be in the gallery yet; `update` adds photos. "
                f"Received: {next(name for name in new.names if name in there)!r}"
            )
        self._put(new, embeddings)

    def update(self, names: Names, embeddings: Embedded) -> None:
        """Adds photos as `add` does: each template becomes the mean over all photos of the person.

        People who are not in the gallery yet are enrolled. With float16 and int8 the mean is taken
        with the rounded template. Photos of a person that cancel out are a ValueError.
        """
        new = self._averaged(names, embeddings)
        there = self._index.known(new.names)
        known = [row for row, name in enumerate(new.names) if name in there]
        others = [row for row, name in enumerate(new.names) if name not in there]
        if known:
            more = new.take(known)
            changed = merge(self._index.get(more.names), more)
            new = changed.joined(new.take(others)) if others else changed
        self._put(new, embeddings)

    def remove(self, names: Names) -> None:
        """Removes people. After an error, which names the nearest, nobody was removed."""
        chosen = list(dict.fromkeys([names] if isinstance(names, str) else names))
        self._require_known(chosen)
        if chosen:
            self._index.remove(chosen)

    def search(
        self, embeddings: Embedded, k: int = 5, similarity: Similarity = COSINE
    ) -> list[list[Match]]:
        """Finds the k most similar people for each of P probes, fewer where the gallery has fewer.

        The result is P lists of matches, best first, equal similarities by name. `similarity` is
        the cosine, `GROUP_AWARE`, or a `Similarity` with your own β and γ.

        Raises:
            ValueError: for probes of another width or another model, not finite or zero, and where
                the similarity needs group features that the probes or the gallery do not have.
        """
        positive_int("k", k)
        self.require_model(getattr(embeddings, "model", None))
        embedding, group = unit_rows(embeddings)
        widths = self._index.widths
        if widths is None:
            return [[] for _ in embedding]
        mine = embedding.shape[1], None if group is None else group.shape[1]
        if mine[0] != widths[0] or (similarity.group_aware and mine != widths):
            raise _other_width(mine, widths)
        if similarity.group_aware and group is None:
            raise ValueError(
                "The group-aware similarity needs group features, which this gallery and these "
                "probes do not have; use the cosine."
            )
        return exact_search(self._index, embedding, group, min(k, len(self)), similarity)

    def require_model(self, model: str | None) -> None:
        """Raises ValueError where the gallery was made with another model than this fingerprint's.

        None, an unknown model, is accepted.
        """
        known = self.metadata.get("model")
        if known and model and known != model:
            name = self.metadata.get("model_name", "another model")
            raise ValueError(
                f"`model` must be the one that the gallery was made with, {name} ({known[:12]}…): "
                f"embeddings of two models cannot be compared. Received: {model[:12]}…"
            )

    def save(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Writes the gallery's file, whole or not at all, and returns its path.

        A `path` becomes the new `location`. A gallery in Milvus is stored already, and takes none;
        Milvus Lite moves the log of its changes to its data files ("flush"), so that it opens
        sooner. An OSError leaves the earlier file.
        """
        if not isinstance(self._index, RowIndex):
            if path is not None:
                raise ValueError("`path` cannot be chosen for a gallery in Milvus.")
            self._index.flush()
            return Path(self.location or "")
        place = self.location if path is None else os.fspath(path)
        if place is None:
            raise ValueError("`path` must say where to write a gallery made without `location`.")
        if is_milvus(place):
            raise ValueError(f"`path` must be a file that does not end in .db. Received: {place!r}")
        description = {"storage": self.storage, "metadata": self.metadata}
        columns = {name: (column,) for name, column in joined_names(self._index.people).items()}
        kept = {name: column.parts for name, column in self._index.columns.items()}
        write_gallery_file(place, description, {**columns, **kept})
        self.location = place
        return Path(place)

    def close(self) -> None:
        """Closes the gallery, so that another process can open a folder of Milvus Lite.

        The end of the process does the same. Galleries in files need no closing.
        """
        self._index.close()

    def _open(self, path: Path, storage: str | None) -> None:
        description, columns = read_gallery_file(path)
        self.storage = description["storage"]
        if storage not in (None, self.storage):
            raise ValueError(
                f"`storage` of {path} is {self.storage!r}. Received: storage={storage!r}"
            )
        self.metadata = dict(description["metadata"])
        names = split_names(columns)
        self._index = RowIndex.mapped(self.storage, names, columns)

    def _require_known(self, names: Sequence[str]) -> None:
        known = self._index.known(names)
        for name in names:
            if name not in known:
                # Comparing with a million names would take minutes.
                guess = nearest(name, self._index.names()) if len(self) <= 10_000 else None
                hint = f" (did you mean {guess!r}?)" if guess else ""
                raise ValueError(f"`names` must be in the gallery. Received: {name!r}{hint}")

    def _averaged(self, names: Names, embeddings: Embedded) -> Templates:
        """The templates of people to enrol, whose model and widths are the gallery's."""
        new = average(names, embeddings)
        self.require_model(getattr(embeddings, "model", None))
        wanted = self._index.widths
        if wanted is not None and new.widths != wanted:
            raise _other_width(new.widths, wanted)
        return new

    def _put(self, templates: Templates, embeddings: Embedded) -> None:
        model = getattr(embeddings, "model", None)
        # People whose model is unknown may be there: then it stays unknown.
        if model and self._index.widths is None:
            self.metadata.setdefault("model", model)
        self._index.put(templates)


def _other_width(found: tuple[int, int | None], wanted: tuple[int, int | None]) -> ValueError:
    return ValueError(
        f"`embeddings` must have the gallery's widths, {wanted[0]} numbers and "
        f"{wanted[1] or 'no'} of group features. Received: {found[0]} and {found[1] or 'no'}; "
        "were they made by another model?"
    )


def is_milvus(location: str) -> bool:
    """Whether a location is Milvus': a URL, or a file ending in .db."""
    return "://" in location or location.endswith(".db")
