"""Clustering of photos by the people in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data.alignment import FaceAligner
from gfkeras.data.statistics import contact_sheet
from gfkeras.errors import one_of, wrong
from gfkeras.files import PathLike, csv_file, replacing
from gfkeras.inference import Embedder
from gfkeras.inference.clustering import METHODS, cluster_faces
from gfkeras.inference.embeddings import PhotoFaces, from_aligned
from gfkeras.tasks.alignment import face_reader, make_alignment
from gfkeras.tasks.decision import check_decision, make_decision
from gfkeras.tasks.embed import embed_faces
from gfkeras.tasks.photo_files import images_of, unusable
from gfkeras.tasks.reporting import Progress, skipped_json, stage_progress
from gfkeras.zoo import DEFAULT_PRESET

# The cosine for models without thresholds. It gives the best BCubed F on LFW with the MobileFaceNet
# trained on MS1M (benchmarks/clustering_lfw.py). At 0.4, chains of similar faces join everyone.
THRESHOLD = 0.5
_ROWS, _COLUMNS = 20, 10


@dataclass(frozen=True, eq=False)
class Clusters:
    """The faces of photos and their clusters.

    Attributes:
        photos: the photos.
        faces: F faces. `faces.photo` is the index of each face's photo in `photos`.
        labels: (F,) int64, the cluster of each face. Cluster 0 is the largest. Faces without a
            cluster have −1.
        method: "dbscan" or "hdbscan".
        threshold: smallest cosine of two neighbouring faces, or None for "hdbscan".
        origin: the source of the threshold.
        skipped: (file, reason) of photos without a usable face, then of other files.
        table, sheets: the .csv file and the contact sheets, if they were written.
    """

    photos: list[Path]
    faces: PhotoFaces
    labels: np.ndarray
    method: str
    threshold: float | None
    origin: str
    skipped: list[tuple[Path, str]]
    table: Path | None = None
    sheets: list[Path] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of clusters."""
        return int(self.labels.max()) + 1

    @property
    def in_none(self) -> int:
        """The number of faces that are in no cluster."""
        return int((self.labels < 0).sum())

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras cluster --json`."""
        return {
            "faces": len(self.faces),
            "photos": len(self.photos),
            "clusters": self.count,
            "in_none": self.in_none,
            "threshold": self.threshold,
            "method": self.method,
            **skipped_json(self.skipped),
            "sheets": [str(sheet) for sheet in self.sheets],
        }


def cluster(
    sources: PathLike | Sequence[PathLike],
    out: PathLike | None = None,
    model: PathLike = DEFAULT_PRESET,
    *,
    method: str = "dbscan",
    threshold: float | None = None,
    far: float | None = None,
    thresholds: PathLike | None = None,
    force: bool = False,
    min_faces: int = 2,
    min_size: int = 40,
    aligned: bool = False,
    detector: PathLike | None = None,
    flip: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Clusters:
    """Sorts unlabelled photos by the people in them.

    Finds, aligns and embeds every face in the photos. Similar faces form a cluster.

    Args:
        sources: photos, or folders of photos (see `gfkeras.data.walk`).
        out: folder for clusters.csv (photo, face, box, cluster) and contact sheets, with the
            largest clusters first. If None, nothing is written.
        model: a preset, a model folder or an artefact.
        method: "dbscan" or "hdbscan".
        threshold: for "dbscan", the smallest cosine of two neighbouring faces. By default, the
            model's threshold at its smallest FAR, because each face is compared with all others and
            chains of similar faces join clusters. A model without cosine thresholds uses 0.5.
        far, thresholds, force, aligned, detector, flip, threads: as for
            `gfkeras.tasks.compare.compare`.
        min_faces: smallest number of faces in a cluster.
        min_size: smallest face in pixels. Leaves out faces in the background.
        progress: called with ("Embedding", photos done, number of photos) after each batch.

    Raises:
        ValueError: if no photo is usable, if the model cannot be read, or if arguments are out of
            range or do not fit together.

    Example:
        clusters = cluster("holiday", "sorted")
        largest = [clusters.photos[i] for i in clusters.faces.photo[clusters.labels == 0]]
    """
    # Check arguments and files before the model is loaded, which takes seconds.
    one_of("method", method, METHODS)
    check_decision(far, thresholds, threshold)
    given = images_of(sources)
    paths = given.photos
    alignment = make_alignment(not aligned, detector, None, "all", min_size)
    embedder = Embedder(model, flip=flip, num_threads=threads)
    near, origin = _neighbours(model, embedder, method, far, thresholds, threshold, force)
    aligner = alignment(embedder.image_size)
    moved = stage_progress(progress, "Embedding")
    if aligner is None:
        faces = from_aligned(embed_faces(embedder, paths, None, moved))
    else:
        faces = embedder.embed_photos(paths, aligner, moved)
    if faces.embeddings is None:
        raise unusable(len(paths), "photos", "used", *faces.skipped[0])
    labels = cluster_faces(faces.embeddings.embedding, near, method, min_faces)
    table, sheets = None, []
    if out is not None:
        table = Path(out) / "clusters.csv"
        _write_table(table, paths, faces, labels)
        sheets = _write_sheets(Path(out), labels, _reader(paths, faces, aligner, embedder))
    kept = near if method == "dbscan" else None
    skipped = [*faces.skipped, *given.left_out]
    return Clusters(paths, faces, labels, method, kept, origin, skipped, table, sheets)


def _neighbours(
    model: PathLike,
    embedder: Embedder,
    method: str,
    far: float | None,
    thresholds: PathLike | None,
    threshold: float | None,
    force: bool,
) -> tuple[float, str]:
    """Returns the smallest cosine of two neighbouring faces, and its origin."""
    asked = far is not None or thresholds is not None or threshold is not None
    # HDBSCAN needs no threshold. If the user gives one, it is still checked below.
    if method != "dbscan" and not asked:
        return THRESHOLD, "not used"
    decision = make_decision(model, embedder, None, far, thresholds, threshold, force, True)
    if decision is not None and not decision.similarity.group_aware:
        at = "" if decision.far is None else f", FAR {decision.far:g}"
        return decision.threshold, decision.origin + at
    if asked:
        received = "thresholds for the group-aware similarity"
        raise wrong("thresholds", "be for the cosine, which clusters the faces", received)
    return THRESHOLD, "default, because the model has no cosine thresholds"


def _write_table(path: Path, paths: list[Path], faces: PhotoFaces, labels: np.ndarray) -> None:
    header = ("photo", "face", "x", "y", "width", "height", "cluster")
    with csv_file(path, header) as write:
        count: dict[int, int] = {}
        for photo, box, label in zip(faces.photo.tolist(), faces.box, labels, strict=True):
            count[photo] = count.get(photo, 0) + 1
            # The box of an aligned face is NaN, which differs from itself.
            place = ["" if value != value else f"{value:.1f}" for value in box.tolist()]
            write([paths[photo], count[photo], *place, int(label)])


def _reader(
    paths: list[Path], faces: PhotoFaces, aligner: FaceAligner | None, embedder: Embedder
) -> Callable[[int], np.ndarray]:
    """Returns a function from a face's index to its aligned image, which it reads again.

    The images are not kept in memory: there can be many, and a contact sheet shows few of them.
    """
    if aligner is None:
        read = face_reader(None, embedder.image_size)
        return lambda number: read(paths[faces.photo[number]])
    return lambda n: aligner.faces(paths[faces.photo[n]], faces.landmarks[n])[0].image


def _write_sheets(out: Path, labels: np.ndarray, read: Callable[[int], np.ndarray]) -> list[Path]:
    # Remove the sheets of an earlier run, which may have had more clusters.
    for old in out.glob("sheet_[0-9][0-9][0-9].jpg"):
        old.unlink()
    written = []
    count = int(labels.max()) + 1
    for page, start in enumerate(range(0, count, _ROWS), start=1):
        end = min(start + _ROWS, count)
        rows = []
        for number in range(start, end):
            members = np.flatnonzero(labels == number)
            # Evenly spread over the cluster: the first faces can all come from the same photo.
            spread = np.linspace(0, len(members) - 1, min(_COLUMNS, len(members))).astype(int)
            images = [read(face) for face in members[spread]]
            rows.append((f"Cluster {number}", len(members), images))
        title = f"Clusters {start} to {end - 1} of {count:,}, largest first"
        path = out / f"sheet_{page:03d}.jpg"
        with replacing(path) as temporary:
            contact_sheet(rows, title, _COLUMNS).save(temporary, quality=88)
        written.append(path)
    return written
