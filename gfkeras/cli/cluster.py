"""`gfkeras cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._align import AlignedOption, PhotoDetectorOption, photo_aligner
from gfkeras.cli._decision import FarOption, ThresholdsOption, make_decision
from gfkeras.cli._output import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    ThreadsOption,
    say,
    table,
    write_json,
)
from gfkeras.cli._progress import stages
from gfkeras.cli.embed import images_of

if TYPE_CHECKING:
    import numpy as np

    from gfkeras.data.alignment import FaceAligner
    from gfkeras.inference.photos import PhotoFaces

# The best of LFW by BCubed F (benchmarks/clustering_lfw.py); at 0.4 chains join everybody.
_THRESHOLD = 0.5
_ROWS, _COLUMNS = 20, 10


def command(
    sources: Annotated[
        list[Path], typer.Argument(metavar="PHOTO…", help="Photos, or folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for clusters.csv and the contact sheets.")],
    model: ModelOption = DEFAULT_MODEL,
    method: Annotated[str, typer.Option(help="dbscan or hdbscan.")] = "dbscan",
    threshold: Annotated[
        float | None,
        typer.Option(help=f"dbscan: cosine from which two faces are neighbours ({_THRESHOLD})."),
    ] = None,
    far: FarOption = None,
    thresholds: ThresholdsOption = None,
    min_faces: Annotated[int, typer.Option(min=1, help="Faces that make a cluster.")] = 2,
    min_size: Annotated[
        int, typer.Option(min=0, help="Leave out faces of fewer pixels: those in the background.")
    ] = 40,
    aligned: AlignedOption = False,
    detector: PhotoDetectorOption = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    threads: ThreadsOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    json: JsonOption = None,
) -> None:
    """Sort unlabelled photos by the people in them.

    Every face of every photo is found, aligned and embedded; faces that are alike make a
    cluster. Writes clusters.csv (photo, face, box, cluster) and contact sheets, the largest
    clusters first.
    """
    from gfkeras.errors import one_of

    one_of("method", method, ("dbscan", "hdbscan"))
    load_keras()
    from gfkeras.inference import Embedder
    from gfkeras.inference.clustering import cluster_faces

    paths = images_of(sources)
    embedder = Embedder(model, flip=flip, num_threads=threads)
    origin = "given by hand" if threshold is not None else "default"
    if far is not None or thresholds is not None:
        decision = make_decision(model, embedder, None, far, thresholds, threshold)
        assert decision is not None
        if decision.similarity.group_aware:
            raise ValueError("`thresholds` must be of the cosine, by which faces are clustered.")
        threshold, origin = decision.threshold, decision.origin
    aligner = photo_aligner(aligned, detector, None, embedder.image_size, "all", min_size)
    with stages(quiet) as move:
        faces = _faces(paths, embedder, aligner, move)
    if faces.embeddings is None:
        path, reason = faces.skipped[0]
        raise ValueError(f"None of the {len(paths)} photos can be used; {path}: {reason}")
    near = _THRESHOLD if threshold is None else threshold
    labels = cluster_faces(faces.embeddings.embedding, near, method, min_faces)
    out.mkdir(parents=True, exist_ok=True)
    _write_csv(out / "clusters.csv", paths, faces, labels)
    sheets = _write_sheets(out, paths, faces, labels, aligner, embedder.image_size)
    clusters = int(labels.max()) + 1
    single = int((labels < 0).sum())
    table([
        ("Faces", f"{len(faces):,} in {len(paths):,} photos"),
        ("Clusters", f"{clusters:,}; {single:,} faces in none"),
        ("Neighbours from", f"{near:.4f} ({origin})" if method == "dbscan" else "by HDBSCAN"),
        ("Skipped", f"{len(faces.skipped):,} photos"),
        ("Written", f"{out / 'clusters.csv'} and {len(sheets)} contact sheets"),
    ])  # fmt: skip
    for path, reason in faces.skipped[:10]:
        say(f"skipped {path}: {reason}")
    write_json(json, {
        "faces": len(faces), "photos": len(paths), "clusters": clusters, "in_none": single,
        "threshold": near if method == "dbscan" else None, "method": method,
        "skipped": len(faces.skipped),
        "skipped_files": [[str(path), reason] for path, reason in faces.skipped],
        "sheets": [str(sheet) for sheet in sheets],
    })  # fmt: skip


def _faces(paths: list[Path], embedder: Any, aligner: FaceAligner | None, move: Any) -> PhotoFaces:
    from gfkeras.inference.photos import from_aligned

    def progress(done: int, total: int) -> None:
        if move is not None:
            move("Embedding", done, total)

    if aligner is None:
        return from_aligned(embedder.embed_files(paths))
    return embedder.embed_photos(paths, aligner, progress)


def _write_csv(path: Path, paths: list[Path], faces: PhotoFaces, labels: np.ndarray) -> None:
    import csv

    from gfkeras.files import replacing

    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "face", "x", "y", "width", "height", "cluster"])
        count: dict[int, int] = {}
        for photo, box, label in zip(faces.photo.tolist(), faces.box, labels, strict=True):
            count[photo] = count.get(photo, 0) + 1
            place = ["" if value != value else f"{value:.1f}" for value in box.tolist()]
            writer.writerow([paths[photo], count[photo], *place, int(label)])


def _write_sheets(
    out: Path, paths: list[Path], faces: PhotoFaces, labels: np.ndarray,
    aligner: FaceAligner | None, size: int,
) -> list[Path]:  # fmt: skip
    import numpy as np

    from gfkeras.data import read_image
    from gfkeras.data.statistics import contact_sheet
    from gfkeras.files import replacing

    for old in out.glob("sheet_[0-9][0-9][0-9].jpg"):
        old.unlink()
    written = []
    count = int(labels.max()) + 1
    for page, start in enumerate(range(0, count, _ROWS), start=1):
        rows = []
        for cluster in range(start, min(start + _ROWS, count)):
            members = np.flatnonzero(labels == cluster)
            spread = np.linspace(0, len(members) - 1, min(_COLUMNS, len(members)))
            shown = members[spread.astype(int)]
            images = [
                read_image(paths[faces.photo[i]], size)
                if aligner is None
                else aligner.faces(paths[faces.photo[i]], faces.landmarks[i])[0].image
                for i in shown.tolist()
            ]
            rows.append((f"Cluster {cluster}", len(members), images))
        title = f"Clusters {start} to {min(start + _ROWS, count) - 1} of {count:,}, largest first"
        path = out / f"sheet_{page:03d}.jpg"
        with replacing(path) as temporary:
            contact_sheet(rows, title, _COLUMNS).save(temporary, quality=88)
        written.append(path)
    return written
