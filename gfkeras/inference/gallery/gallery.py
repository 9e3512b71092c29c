"""The gallery: enrolment of people and exact search by their faces."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from gfkeras.errors import nearest, one_of, positive_int
from gfkeras.evaluation.similarity import COSINE, Similarity
from gfkeras.files import private_folder, remove_unfinished
from gfkeras.inference.gallery.changes import Changes
from gfkeras.inference.gallery.column import STORAGES
from gfkeras.inference.gallery.exact_search import exact_search
from gfkeras.inference.gallery.face_index import FaceIndex
from gfkeras.inference.gallery.gallery_file import read_head
from gfkeras.inference.gallery.row_index import RowIndex, read_index, write_index
from gfkeras.inference.gallery.templates import (
    Embedded,
    Match,
    Templates,
    average,
    listed_names,
    merge,
    model_of,
    unit_rows,
)
from gfkeras.locks import SharedLock, file_lock

Names = str | Sequence[str]
# Seconds to wait for another process that writes the file; a million people take less.
_PATIENCE = 120.0


class Gallery:
    """Enrols people and finds the most similar of them, exactly.

    A gallery keeps one template of each person: the mean of the unit embeddings of all photos, and
    of the unit group features v̂ where the network has groups.

    In this process, changes stay in memory until `save`, which replaces the file as a whole. A
    reader sees the old gallery or the new one, and a process that is killed loses only what came
    after the last `save`. Several processes may change one file: `save` makes this one's changes
    to what the file holds by then, under a lock. In Milvus every change is stored when its call
    returns. The file is read into memory, and only its owner may read it (mode 0600).

    The embeddings of two models cannot be compared. A gallery is of the model that made its first
    embeddings, or that `metadata` names, and refuses those of another. Embeddings that do not name
    a model (`Embeddings.model` is None) are accepted.

    Threads may share a gallery. Several search at once; a change waits for the searches that have
    begun, and those that come later wait for it. With 1, 2 and 8 threads, 0.99, 1.04 and 1.17 times
    as many searches a second are done as one at a time, while another thread adds people (medians
    of `python benchmarks/threads.py`, on two processors that others used too).

    Args:
        location: None for memory; a file ("faces.gallery"), opened if it exists; a folder ending in
            ".db" for Milvus Lite ("faces.milvus.db"), which one process can open at a time; or the
            URL of a Milvus cluster ("http://host:19530/database").
        storage: "float32", "float16" or "int8". int8 takes one byte a dimension, as FaceNet does.
            Search is exact on the stored values. A gallery keeps its storage. Milvus has float32
            only.
        token: of a Milvus cluster.
        metadata: texts kept with a new gallery: "model", the fingerprint of its model
            (`Embedder.fingerprint`), "model_name" and others. One that is opened keeps its own,
            and is refused if it is of another "model".

    Raises:
        ValueError: for a file that is damaged, no gallery or of another model, and for arguments
            out of range.
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
        self.location = None if location is None else os.fsdecode(location)
        self.metadata = dict(metadata or {})
        # For whoever reads the index, and for whoever prepares a change of it.
        self._lock, self._changing = SharedLock(), threading.RLock()
        self._changes, self._head = Changes(), None
        self._index: FaceIndex
        wanted = self.metadata.get("model")
        if self.location is not None and is_milvus(self.location):
            from gfkeras.inference.gallery.milvus_index import MilvusIndex

            index = MilvusIndex(self.location, token, storage, self.metadata)
            self._index, self.storage, self.metadata = index, index.storage, index.metadata
            self.require_model(wanted)
            return
        if token is not None:
            raise ValueError("`token` goes with the URL of a Milvus cluster.")
        if self.location is not None and Path(self.location).exists():
            self._index, self.metadata, self._head = read_index(Path(self.location), storage)
            self.storage = self._index.storage
            self.require_model(wanted)
            return
        self.storage = storage or "float32"
        self._index = RowIndex(self.storage)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], token: str | None = None, model: str | None = None
    ) -> Gallery:
        """Opens a gallery; raises ValueError for one that is missing or damaged.

        With `model`, a fingerprint (`Embedder.fingerprint`), also for one of another model.
        """
        location = os.fspath(path)
        if "://" not in location and not Path(location).exists():
            raise ValueError(
                f"`path` must be a gallery. Received: {location!r}, which is not there"
            )
        return cls(location, token=token, metadata=None if model is None else {"model": model})

    def __len__(self) -> int:
        with self._lock.shared():
            return len(self._index)

    def __contains__(self, name: object) -> bool:
        with self._lock.shared():
            return isinstance(name, str) and bool(self._index.known([name]))

    @property
    def names(self) -> list[str]:
        """Everybody, sorted."""
        with self._lock.shared():
            return sorted(self._index.names())

    @property
    def widths(self) -> tuple[int, int | None] | None:
        """(D, G): width of embeddings and group features, G None without; None while empty."""
        with self._lock.shared():
            return self._index.widths

    def templates(self, names: Sequence[str] | None = None) -> Templates:
        """The templates of people in the gallery, of everybody by default, sorted by name."""
        with self._lock.shared():
            chosen = sorted(self._index.names()) if names is None else list(names)
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
            embeddings: what an `Embedder` gave for the photos, or their embeddings as an array,
                (N, D).

        Raises:
            ValueError: for somebody who is in the gallery; for embeddings of another width than the
                gallery's or of another model, not finite or zero; for empty names.
        """
        with self._changing:
            new = self._averaged(names, embeddings)
            if there := self._index.known(new.names):
                raise ValueError(
                    f"`names` must not be in the gallery yet; `update` adds photos. "
                    f"Received: {next(name for name in new.names if name in there)!r}"
                )
            self._put(new, embeddings, new.names)

    def update(self, names: Names, embeddings: Embedded) -> None:
        """Adds photos as `add` does: each template becomes the mean over all photos of the person.

        People who are not in the gallery yet are enrolled. With float16 and int8 the mean is taken
        with the rounded template. Photos of a person that cancel out are a ValueError.
        """
        with self._changing:
            new = self._averaged(names, embeddings)
            there = self._index.known(new.names)
            more = new.take([row for row, name in enumerate(new.names) if name in there])
            others = new.take([row for row, name in enumerate(new.names) if name not in there])
            if len(more):
                changed = merge(self._index.get(more.names), more)
                new = changed.joined(others) if len(others) else changed
            self._put(new, embeddings, others.names, more)

    def remove(self, names: Names) -> None:
        """Removes people. After an error, which names the nearest, nobody was removed."""
        chosen = [names] if isinstance(names, str) else list(dict.fromkeys(listed_names(names)))
        with self._changing:
            self._require_known(chosen)
            if chosen:
                with self._lock.alone():
                    self._index.remove(chosen)
                if isinstance(self._index, RowIndex):
                    self._changes.remove(chosen)

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
        self.require_model(model_of(embeddings))
        embedding, group = unit_rows(embeddings)
        mine = embedding.shape[1], None if group is None else group.shape[1]
        with self._lock.shared():
            index = self._index
            widths = index.widths
            if widths is None:
                return [[] for _ in embedding]
            if mine[0] != widths[0] or (similarity.group_aware and mine != widths):
                raise _other_width(mine, widths)
            if similarity.group_aware and group is None:
                raise ValueError(
                    "The group-aware similarity needs group features, which this gallery and these "
                    "probes do not have; use the cosine."
                )
            return exact_search(index, embedding, group, min(k, len(index)), similarity)

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

        What other processes have saved meanwhile stays: under a lock, the changes since this
        gallery was opened or saved are made to what the file holds now, and this gallery becomes
        the result. Of photos added to one person by two processes all count. Whoever was removed
        by another process stays away, even if photos were added here.

        A `path` becomes the new `location`; another gallery there is replaced. A gallery in Milvus
        is stored already, and takes none; Milvus Lite moves the log of its changes to its data
        files ("flush"), so that it opens sooner.

        Raises:
            ValueError: if the file is damaged, has become a gallery of another model or storage,
                or is gone and no `path` is given. Nothing is written, and nothing is lost here.
            OSError: if it cannot be written, which leaves the earlier file; or if another process
                has been writing it for two minutes.
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
        # A link stays a link, and two names of one file have one lock.
        file = Path(os.path.realpath(place))
        own = self.location is not None and os.path.realpath(self.location) == str(file)
        with self._changing:
            private_folder(file.parent)
            try:
                with file_lock(file.with_name(f".{file.name}.lock"), _PATIENCE):
                    remove_unfinished(file)
                    index, metadata = self._with_others(file, path is None) if own else (None, {})
                    index, metadata = index or self._index, metadata or self.metadata
                    head = write_index(file, index, metadata)
            except TimeoutError as error:
                raise TimeoutError(f"{place} cannot be written: {error}") from error
            with self._lock.alone():
                self._index, self.metadata = index, metadata
            self._changes, self._head, self.location = Changes(), head, place
        return Path(place)

    def close(self) -> None:
        """Closes the gallery, so that another process can open a folder of Milvus Lite.

        The end of the process does the same. Galleries in files need no closing.
        """
        self._index.close()

    def _with_others(self, file: Path, must_exist: bool) -> tuple[RowIndex | None, dict[str, str]]:
        """Index and metadata with what others have written since; (None, {}) where nobody has."""
        head = read_head(file)
        if head == self._head:
            return None, {}
        if head is None:
            if must_exist:
                raise ValueError(
                    f"{file} is gone since it was opened. To write what is in memory anew, give "
                    "its name as `path`."
                )
            return None, {}
        assert isinstance(self._index, RowIndex)
        theirs, metadata, _ = read_index(file, self.storage)
        known, mine = metadata.get("model"), self.metadata.get("model")
        if known and mine and known != mine:
            raise ValueError(
                f"{file} has become a gallery of another model meanwhile ({known[:12]}…, not "
                f"{mine[:12]}…)"
            )
        widths = theirs.widths, self._index.widths
        if None not in widths and widths[0] != widths[1]:
            raise ValueError(f"{file} has been given people of other widths meanwhile")
        self._changes.apply(self._index, theirs)
        return theirs, self.metadata | metadata

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
        self.require_model(model_of(embeddings))
        wanted = self._index.widths
        if wanted is not None and new.widths != wanted:
            raise _other_width(new.widths, wanted)
        return new

    def _put(
        self,
        templates: Templates,
        embeddings: Embedded,
        added: list[str],
        photos: Templates | None = None,
    ) -> None:
        """Keeps templates, of which `added` are new; `photos` are further ones of the others."""
        model = model_of(embeddings)
        # People whose model is unknown may be there: then it stays unknown.
        if model and self._index.widths is None:
            self.metadata.setdefault("model", model)
        with self._lock.alone():
            self._index.put(templates)
        if isinstance(self._index, RowIndex):
            self._changes.add(added)
            if photos is not None:
                self._changes.update(photos)


def _other_width(found: tuple[int, int | None], wanted: tuple[int, int | None]) -> ValueError:
    return ValueError(
        f"`embeddings` must have the gallery's widths, {wanted[0]} numbers and "
        f"{wanted[1] or 'no'} of group features. Received: {found[0]} and {found[1] or 'no'}; "
        "were they made by another model?"
    )


def is_milvus(location: str) -> bool:
    """Whether a location is Milvus': a URL, or a file ending in .db."""
    return "://" in location or location.endswith(".db")
