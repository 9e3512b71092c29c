"""`gfkeras cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from gfkeras.cli import options
from gfkeras.cli.output import list_skipped, table, write_json
from gfkeras.cli.progress import stages
from gfkeras.zoo import DEFAULT_PRESET

if TYPE_CHECKING:
    from gfkeras.tasks.cluster import Clusters


def command(
    sources: options.Photos,
    out: Annotated[Path, Option(help="Folder for clusters.csv and the contact sheets.")],
    model: options.Model = DEFAULT_PRESET,
    method: Annotated[str, Option(help="dbscan or hdbscan.")] = "dbscan",
    threshold: Annotated[
        float | None, Option(help="dbscan: cosine from which two faces are neighbours (0.5).")
    ] = None,
    far: options.Far = None,
    thresholds: options.Thresholds = None,
    min_faces: Annotated[int, Option(min=1, help="Faces that make a cluster.")] = 2,
    min_size: Annotated[
        int, Option(min=0, help="Leave out faces of fewer pixels: those in the background.")
    ] = 40,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = None,
) -> None:
    """Sort unlabelled photos by the people in them.

    Every face of every photo is found, aligned and embedded; faces that are alike make a
    cluster. Writes clusters.csv (photo, face, box, cluster) and contact sheets, the largest
    clusters first.
    """
    from gfkeras.tasks.cluster import cluster

    with stages(quiet) as progress:
        found = cluster(
            sources, out, model, method=method, threshold=threshold, far=far, thresholds=thresholds,
            min_faces=min_faces, min_size=min_size, aligned=aligned, detector=detector, flip=flip,
            threads=threads, progress=progress,
        )  # fmt: skip
    table(_rows(found))
    list_skipped(found.faces.skipped)
    write_json(json, found.to_json())


def _rows(found: Clusters) -> list[tuple[str, Any]]:
    near = "by HDBSCAN" if found.threshold is None else f"{found.threshold:.4f} ({found.origin})"
    return [
        ("Faces", f"{len(found.faces):,} in {len(found.photos):,} photos"),
        ("Clusters", f"{found.count:,}; {found.in_none:,} faces in none"),
        ("Neighbours from", near),
        ("Skipped", f"{len(found.faces.skipped):,} photos"),
        ("Written", f"{found.table} and {len(found.sheets)} contact sheets"),
    ]
