"""The Gallery: enrolment of people and exact search by their faces."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from gfkeras.errors import nearest, one_of, positive_int, wrong
from gfkeras.evaluation.similarity import COSINE, Similarity
from gfkeras.files import private_folder, remove_unfinished
from gfkeras.inference.gallery.column import STORAGES
from gfkeras.inference.gallery.exact_search import FaceIndex, exact_search
from gfkeras.inference.gallery.gallery_file import read_head
from gfkeras.inference.gallery.row_index import Changes, RowIndex, read_index, write_index
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
# Seconds to wait for another process that writes the file. Writing a million people takes less.
_PATIENCE = 120.0


class Gallery:
    """Enrols people and finds the most similar of them by exact search.

    A gallery has one template per person: the mean of the unit embeddings of all photos. If the
    network has groups, the template also has the mean of the unit group features v̂.

    The file is read into memory, and only its owner can read it (mode 0600). Changes stay in memory
    until `save`, which replaces the whole file. A reader sees either the old or the new gallery.
    A process that is killed loses only the changes after the last `save`. Several processes can
    change one file: under a lock, `save` repeats this gallery's changes on the current content of
    the file. In Milvus, each change is stored when its call returns.

    Embeddings of two models cannot be compared. A gallery belongs to the model in `metadata`, or to
    the model of its first embeddings, and refuses embeddings of other models. Embeddings without a
    model (`Embeddings.model` is None) are accepted.

    Threads can share a gallery. They can search at the same time. A change waits for running
    searches, and later searches wait for the change. While another thread adds people, 1, 2 and 8
    threads do 0.99, 1.04 and 1.17 times as many searches per second as with one search at a time
    (medians of `python benchmarks/threads.py` on two shared processors).

    Args:
        location: None for a gallery in memory, a file ("faces.gallery"), a folder of Milvus Lite
            ("faces.milvus.db"), or the URL of a Milvus cluster ("http://host:19530/database"). An
            existing file is opened. The folder's name must end in ".db", and only one process can
            open it at a time.
        storage: "float32" (the default for a new gallery), "float16" or "int8". int8 takes one byte
            per dimension, like FaceNet's codes. Search is exact on the stored values. The storage
            of an existing gallery cannot change. Milvus has only float32.
        token: access token of a Milvus cluster.
        metadata: texts to store with a new gallery, such as "model", the fingerprint of its model
            (`Embedder.fingerprint`), and "model_name". An existing gallery keeps its own texts, and
            is refused if its "model" differs.

    Raises:
        ValueError: if the file is damaged, is not a gallery or belongs to another model, or if an
            argument is out of range.
        ImportError: if a gallery in Milvus needs the extra `milvus`.

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
        # `_lock` protects the index: shared by readers, exclusive for a change. `_changing` allows
        # one change at a time, so searches continue while a change is prepared.
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
            raise ValueError(f"`token` goes with the URL of a cluster. Received: {self.location!r}")
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
        """Opens an existing gallery.

        Args:
            path: a file, a folder of Milvus Lite or the URL of a Milvus cluster.
            token: access token of a Milvus cluster.
            model: fingerprint of the model that the gallery must belong to
                (`Embedder.fingerprint`), or None for any model.

        Raises:
            ValueError: if the gallery is missing, is damaged or belongs to another model.
        """
        location = os.fspath(path)
        if "://" not in location and not Path(location).exists():
            raise wrong("path", "be a gallery", f"{location!r}, which does not exist")
        return cls(location, token=token, metadata=None if model is None else {"model": model})

    def __len__(self) -> int:
        with self._lock.shared():
            return len(self._index)

    def __contains__(self, name: object) -> bool:
        with self._lock.shared():
            return isinstance(name, str) and bool(self._index.known(listed_names(name)))

    @property
    def names(self) -> list[str]:
        """The names of all people, sorted."""
        with self._lock.shared():
            return sorted(self._index.names())

    @property
    def widths(self) -> tuple[int, int | None] | None:
        """The widths (D, G), with G = None without groups, or None for an empty gallery."""
        with self._lock.shared():
            return self._index.widths

    def templates(self, names: Sequence[str] | None = None) -> Templates:
        """Returns the templates of the named people, or of all people sorted by name.

        Raises ValueError if a person is not in the gallery, or if no person is left to return.
        """
        with self._lock.shared():
            chosen = sorted(self._index.names()) if names is None else listed_names(names)
            self._require_known(chosen)
            if not chosen:
                raise ValueError("`names` must name at least one person. Received: none")
            return self._index.get(chosen)

    def template(self, name: str) -> Templates:
        """Returns one person's template. Raises ValueError if the gallery does not have it."""
        return self.templates([name])

    def add(self, names: Names, embeddings: Embedded) -> None:
        """Enrols people who are not in the gallery yet. After an error, nobody is enrolled.

        Args:
            names: the name of one person for all rows, or one name per row.
            embeddings: the result of an `Embedder` for the photos, or an array, (N, D).

        Raises:
            ValueError: if a person is already in the gallery, if the embeddings belong to another
                model, have another width, are not finite, are zero or cancel out, or if a name is
                empty.
        """
        with self._changing:
            new = self._averaged(names, embeddings)
            if there := self._index.known(new.names):
                expected = "not be in the gallery yet. Use `update` to add photos"
                received = f"{next(name for name in new.names if name in there)!r}"
                raise wrong("names", expected, received)
            self._put(new, embeddings, new.names)

    def update(self, names: Names, embeddings: Embedded) -> None:
        """Adds photos of people. Each template becomes the mean over all photos of the person.

        The arguments and errors are those of `add`, but people can already be in the gallery. Other
        people are enrolled. With float16 and int8, the mean is computed from the rounded template.
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
        """Removes people. After an error, which suggests a similar name, nobody is removed."""
        chosen = list(dict.fromkeys(listed_names(names)))
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
        """Finds the k most similar people for each of P probes.

        Args:
            embeddings: the result of an `Embedder` for the probes, or an array, (P, D).
            k: number of matches per probe. A smaller gallery gives fewer.
            similarity: the cosine, `GROUP_AWARE`, or a `Similarity` with your own β and γ.

        Returns:
            P lists of matches, the best first, and equal similarities by name.

        Raises:
            ValueError: if the probes belong to another model, have another width, are not finite or
                are zero, or if the similarity needs group features that are missing.
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
                    "probes do not have. Use the cosine."
                )
            return exact_search(index, embedding, group, min(k, len(index)), similarity)

    def require_model(self, model: str | None) -> None:
        """Raises ValueError for the fingerprint of another model. None is accepted."""
        known = self.metadata.get("model")
        if known and model and known != model:
            name = self.metadata.get("model_name", "another model")
            raise ValueError(
                f"`model` must be the one that the gallery was made with, {name} ({known[:12]}…): "
                f"embeddings of two models cannot be compared. Received: {model[:12]}…"
            )

    def save(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Writes the gallery's file completely or not at all, and returns its path.

        Changes that other processes saved in the meantime stay. Under a lock, the changes since
        this gallery was opened or saved are repeated on the current content of the file, and this
        gallery becomes the result. If two processes added photos of one person, all photos count.
        A person who was removed by another process stays removed, even if photos were added here.

        A gallery in Milvus is already stored. `save` asks Milvus Lite to move its log of changes to
        its data files, so the folder opens faster.

        Args:
            path: the new `location`, if given. Another gallery there is replaced. A gallery in
                Milvus has no `path`.

        Raises:
            ValueError: if the file is damaged or now belongs to another model or storage, or if it
                was deleted and no `path` is given. The file and this gallery do not change.
            OSError: if the file cannot be written (the earlier file stays), or if another process
                keeps it locked for two minutes.
        """
        if not isinstance(self._index, RowIndex):
            if path is not None:
                raise ValueError(f"`path` must be None in Milvus. Received: path={path!r}")
            self._index.flush()
            return Path(self.location or "")
        place = self.location if path is None else os.fspath(path)
        if place is None:
            raise ValueError("`path` must name a file, because the gallery has no `location`.")
        if is_milvus(place):
            raise ValueError(f"`path` must be a file that does not end in .db. Received: {place!r}")
        # The real path keeps a symbolic link in place, and gives both names of a file one lock.
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
        """Closes the gallery. Another process can then open a folder of Milvus Lite.

        The end of the process has the same effect. Galleries in files do not need it.
        """
        self._index.close()

    def _with_others(self, file: Path, must_exist: bool) -> tuple[RowIndex | None, dict[str, str]]:
        """Repeats the changes on a changed file's index. Returns (None, {}) if it is the same."""
        head = read_head(file)
        if head == self._head:
            return None, {}
        if head is None:
            if must_exist:
                raise ValueError(
                    f"{file} was deleted after it was opened. To write the gallery again, pass its "
                    "name as `path`."
                )
            return None, {}
        assert isinstance(self._index, RowIndex)
        theirs, metadata, _ = read_index(file, self.storage)
        known, mine = metadata.get("model"), self.metadata.get("model")
        if known and mine and known != mine:
            raise ValueError(
                f"{file} is now a gallery of another model: expected {mine[:12]}…, "
                f"received {known[:12]}…"
            )
        widths = theirs.widths, self._index.widths
        if None not in widths and widths[0] != widths[1]:
            raise ValueError(f"{file} now has embeddings of other widths")
        self._changes.apply(self._index, theirs)
        return theirs, self.metadata | metadata

    def _require_known(self, names: Sequence[str]) -> None:
        known = self._index.known(names)
        for name in names:
            if name not in known:
                # Comparing the name with a million others would take minutes.
                guess = nearest(name, self._index.names()) if len(self) <= 10_000 else None
                hint = f" (did you mean {guess!r}?)" if guess else ""
                raise ValueError(f"`names` must be in the gallery. Received: {name!r}{hint}")

    def _averaged(self, names: Names, embeddings: Embedded) -> Templates:
        """Returns the templates of people to enrol, after checking model and widths."""
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
        """Stores templates. `added` names new people. `photos` are further ones of the others."""
        model = model_of(embeddings)
        # Only an empty gallery takes the model. If it has people of an unknown model, it stays
        # without one.
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
        f"{wanted[1] or 'no'} of group features. Received: {found[0]} and {found[1] or 'no'}, "
        "probably from another model"
    )


def is_milvus(location: str) -> bool:
    """Returns whether a location is in Milvus: a URL or a name that ends in .db."""
    return "://" in location or location.endswith(".db")
