"""Inversion targets: embeddings of photos, people, templates or classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from keras import ops

from gfkeras.archives import read_npz
from gfkeras.data import FaceFolder, read_image
from gfkeras.data.alignment import FaceAligner
from gfkeras.data.images import FaceSize
from gfkeras.errors import ImageError, unknown_name, wrong, wrong_value
from gfkeras.files import PathLike
from gfkeras.inference import Embedder
from gfkeras.training import load_classifier

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Targets:
    """One embedding (N, D), normalised to unit rows, for each of N faces to generate.

    The close-set form (the ArcFace loss) has the `centers` (C, D) of all classes, and `labels`
    (N,), the row of each target in them. The open-set form (a distance to `embedding`) has None.
    """

    names: list[str]
    embedding: np.ndarray
    centers: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        embedding = np.asarray(self.embedding, np.float32)
        if embedding.ndim != 2 or not len(embedding) or len(embedding) != len(self.names):
            received = f"a shape of {embedding.shape}"
            raise wrong("embedding", f"be ({len(self.names)}, D), a row for each name", received)
        object.__setattr__(self, "embedding", unit("embedding", embedding))
        if (self.centers is None) != (self.labels is None):
            raise ValueError("`centers` and `labels` must be given together. Received: one of them")
        if self.centers is None or self.labels is None:
            return
        centers, labels = np.asarray(self.centers, np.float32), np.asarray(self.labels, np.int32)
        if centers.ndim != 2 or centers.shape[1] != embedding.shape[1]:
            received = f"a shape of {centers.shape}"
            raise wrong("centers", f"be (C, {embedding.shape[1]}), one for each class", received)
        if labels.shape != (len(embedding),) or labels.min() < 0 or labels.max() >= len(centers):
            expected = f"be {len(embedding)} rows of the {len(centers)} centers"
            raise wrong_value("labels", expected, labels.tolist())
        object.__setattr__(self, "centers", unit("centers", centers))
        object.__setattr__(self, "labels", labels)

    @classmethod
    def of_classes(cls, names: list[str], labels: np.ndarray, centers: np.ndarray) -> Targets:
        """Returns targets in the close-set form: rows of the class centers."""
        labels = np.asarray(labels, np.int32)
        return cls(names, np.asarray(centers)[labels], centers, labels)

    def repeated(self, copies: int) -> Targets:
        """Returns the targets repeated, one copy after the other."""
        labels = None if self.labels is None else np.tile(self.labels, copies)
        return Targets(
            self.names * copies, np.tile(self.embedding, (copies, 1)), self.centers, labels
        )

    def require_dimension(self, dimension: int) -> None:
        """Raises ValueError if the targets are not embeddings of this dimension."""
        if self.embedding.shape[1] != dimension:
            expected = f"have the {dimension} numbers of the model's embedding"
            received = f"{self.embedding.shape[1]}, probably from another model"
            raise wrong("targets", expected, received)


def unit(name: str, vectors: np.ndarray) -> np.ndarray:
    """Returns rows of length 1, float32. Raises ValueError for a row without a direction."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        raise ValueError(
            f"`{name}` must be finite and not zero. Received: row {bad[0]} with norm "
            f"{norms[bad[0], 0]}"
        )
    return (vectors / norms).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Subjects:
    """Targets and, if known, photos of each, for other models to judge by.

    `faces` has one (M, S, S, 3) uint8 array per target.
    """

    targets: Targets
    faces: list[np.ndarray] | None = None


def of_photos(
    embedder: Embedder, photos: Sequence[Path], aligner: FaceAligner | None = None
) -> Subjects:
    """Returns open-set targets, one for each photo. Without `aligner`, photos must be aligned."""
    read = aligner or (lambda path: read_image(path, embedder.image_size))
    faces = np.stack([read(path) for path in photos])
    names = [path.stem for path in photos]
    return Subjects(Targets(names, embedder(faces).embedding), [face[None] for face in faces])


def of_people(embedder: Embedder, folder: FaceFolder, names: Sequence[str]) -> Subjects:
    """Returns open-set targets: the mean embedding of each person's images."""
    faces = _faces(folder, names, embedder.image_size)
    means = np.stack([embedder(images).embedding.mean(axis=0) for images in faces])
    return Subjects(Targets(list(names), means), faces)


def of_templates(path: PathLike) -> Subjects:
    """Returns open-set targets: stored embeddings (N, D) in the .npz of `gfkeras embed`."""
    path = Path(path)
    stored = read_npz(
        path, "`embeddings`, an .npz with `embedding` (N, D)", ("embedding",), ("path",)
    )
    embedding, paths = stored["embedding"], [str(p) for p in stored.get("path", np.array([])).flat]
    if embedding.ndim != 2 or embedding.dtype.kind not in "fiu":
        expected = "be an .npz with `embedding` (N, D), as `gfkeras embed` writes"
        raise wrong("embeddings", expected, f"{str(path)!r}, {embedding.shape} {embedding.dtype}")
    embedding = embedding.astype(np.float32)
    # Files from other programs may have no paths.
    if len(paths) != len(embedding):
        paths = [f"{path.stem}-{i}" for i in range(len(embedding))]
    return Subjects(Targets([Path(p).stem for p in paths], embedding))


def centers_of_run(run: PathLike) -> tuple[np.ndarray, list[str]]:
    """Returns the class centers of a finished run of `train`, and their identities.

    The centers are (N, D) float32, or (N, K, D) with K centers a class. They are not normalised.
    """
    classifier, identities = load_classifier(run)
    if classifier.head is None:
        raise wrong("run", "have been trained with a head", f"{str(run)!r}, without one")
    return np.asarray(ops.convert_to_numpy(classifier.head.centers), np.float32), identities


def of_run_classes(
    centers: np.ndarray,
    identities: Sequence[str],
    names: Sequence[str],
    embedder: Embedder,
    folder: FaceFolder | None = None,
) -> Subjects:
    """Returns close-set targets: centers (N, D) of a run. `folder` has photos of the people."""
    if centers.ndim != 2:
        received = f"centers of shape {centers.shape}. Train with one center on the cleaned data"
        raise wrong("run", "have one center a class", received)
    targets = Targets.of_classes(list(names), _rows(names, identities), centers)
    faces = None if folder is None else _faces(folder, names, embedder.image_size)
    return Subjects(targets, faces)


def of_estimated_classes(
    embedder: Embedder, folder: FaceFolder, names: Sequence[str], progress: Progress | None = None
) -> Subjects:
    """Returns close-set targets without a head: each center is a person's mean embedding.

    The folder must hold all people that the loss has to distinguish. `progress` is called with
    (images done, all images).
    """
    rows = _rows(names, folder.identities)
    found = embedder.embed_loaded(
        folder.paths, lambda i: read_image(folder.paths[i], embedder.image_size), progress
    )
    labels = folder.labels[found.index]
    present = np.unique(labels)
    missing = sorted(set(rows.tolist()) - set(present.tolist()))
    if missing:
        received = f"{folder.identities[missing[0]]!r}, without one"
        raise wrong("classes", "have an image that can be read", received)
    sums = np.zeros((len(folder.identities), found.embedding.shape[1]), np.float64)
    np.add.at(sums, labels, found.embedding)
    centers = unit("centers", sums[present])
    # People without a readable image have no center, so positions have to be mapped.
    targets = Targets.of_classes(list(names), np.searchsorted(present, rows), centers)
    return Subjects(targets, _faces(folder, names, embedder.image_size))


def _rows(names: Sequence[str], known: Sequence[str]) -> np.ndarray:
    places = {name: place for place, name in enumerate(known)}
    for name in names:
        if name not in places:
            error = unknown_name("class", name, known)
            # A list of thousands of classes would be unreadable.
            if len(known) > 20:
                guess = str(error).partition(" Known:")[0]
                error = ValueError(f"{guess} There are {len(known):,} classes.")
            raise error
    return np.array([places[name] for name in names], np.int32)


def _faces(folder: FaceFolder, names: Sequence[str], size: FaceSize) -> list[np.ndarray]:
    """Returns each person's readable images, (M, H, W, 3) uint8."""
    chosen = folder.select(list(names))
    found: list[list[np.ndarray]] = [[] for _ in names]
    # The folder leaves out people without images, so map its people to the positions in `names`.
    places = [list(names).index(name) for name in chosen.identities]
    reasons: dict[str, str] = {}
    for path, label in zip(chosen.paths, chosen.labels, strict=True):
        try:
            found[places[label]].append(read_image(path, size))
        except ImageError as error:
            reasons[chosen.identities[label]] = str(error)
    for name, images in zip(names, found, strict=True):
        if not images:
            raise ValueError(
                f"{name!r} must have a usable image in {str(folder.root)!r}. "
                f"Received: {reasons.get(name, 'no image')}"
            )
    return [np.stack(images) for images in found]
