"""`gfkeras compare`, `embed`, `enroll`, `search`, `cluster` and `gallery`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import HOW_TO_DECIDE, list_skipped, say, table, write_json
from gfkeras.cli.progress import stages
from gfkeras.tasks.photo_files import require_folder, require_photo
from gfkeras.zoo import DEFAULT_PRESET

if TYPE_CHECKING:
    from gfkeras.tasks.cluster import Clusters
    from gfkeras.tasks.compare import Comparison
    from gfkeras.tasks.search import FoundFace


def compare_command(
    first: Annotated[Path, Argument(metavar="A", callback=require_photo, help="A photo.")],
    second: Annotated[Path, Argument(metavar="B", callback=require_photo, help="Another photo.")],
    model: options.Model = DEFAULT_PRESET,
    far: options.Far = None,
    thresholds: options.Thresholds = None,
    threshold: options.Threshold = None,
    force: options.Force = False,
    group_aware: options.GroupAware = False,
    beta: options.Beta = None,
    gamma: options.Gamma = None,
    picture: options.Picture = None,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: options.PhotoFace = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Compare the faces in two photos.

    Finds, aligns and embeds the face in each photo. Decides whether both show the same person with
    a threshold that `gfkeras evaluate` measured.
    """
    from gfkeras.tasks.compare import compare

    found = compare(
        first, second, options.model_file(model, input_range, trust),
        far=far, thresholds=thresholds, threshold=threshold, force=force,
        similarity=options.chosen_similarity(group_aware, beta, gamma), aligned=aligned,
        detector=detector, face=face, flip=flip, threads=threads,
    )  # fmt: skip
    table(_rows_compare(found))
    for line in found.unsure_faces:
        say(line)
    if found.decision is None:
        say(HOW_TO_DECIDE)
    write_json(json, found.to_json())
    if picture is not None:
        say(f"Image: {found.draw(picture)}")


def _rows_compare(found: Comparison) -> list[tuple[str, Any]]:
    # Only the score that decides is shown: the threshold does not apply to another score.
    kind = "Group-aware similarity" if found.scored_by.group_aware else "Cosine"
    rows: list[tuple[str, Any]] = [(kind, found.similarity)]
    if found.groups is not None:
        rows.append(("Groups", "{} and {}".format(*found.groups)))
    if found.faces is not None:
        # With several faces, the user sees that the command had to choose one.
        rows.append(("Faces in the photos", "{} and {}".format(*found.faces)))
    if found.rotated is not None and any(found.rotated):
        rows.append(("Photos rotated", "upright, by {}° and {}°".format(*found.rotated)))
    if found.decision is not None:
        undecided = found.same is None or found.decision.far is None
        at = "" if undecided else f" at FAR {found.decision.far:g}"
        rows.append(("Decision", f"{found.verdict}{at}"))
        rows.append(("Threshold", f"{found.decision.threshold:.4f} ({found.decision.origin})"))
        if found.decision.basis is not None:
            rows.append(("Measured on", found.decision.basis))
    return rows


def embed_command(
    sources: options.Photos,
    out: Annotated[Path, Option(callback=options.writable, help="File to write (.npz).")],
    model: options.Model = DEFAULT_PRESET,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: options.PhotoFace = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    batch_size: int | None = Option(None, min=1, help="Images per batch."),
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Write the embeddings of faces to an .npz file.

    Finds, aligns and embeds the face in each photo. Photos without a face are listed as skipped.

    The file has the arrays `embedding` (N, D), L2-normalised, and `path` (N,). For a model with
    groups, it also has `group_feature` (N, 256) and `group` (N,).
    """
    from gfkeras.tasks.embed import embed

    found = embed(
        sources, out, options.model_file(model, input_range, trust),
        aligned=aligned, detector=detector, face=face, flip=flip,
        threads=threads, batch_size=batch_size,
    )  # fmt: skip
    count, width = found.embedding.shape
    table([("Embedded", f"{count:,} images, {width} dimensions"),
           ("Skipped", f"{len(found.skipped):,}"), ("File", found.path)])  # fmt: skip
    list_skipped(found.skipped)
    for line in found.notes:
        say(line)
    write_json(json, found.to_json())


def enroll_command(
    photos: Annotated[
        Path,
        Argument(
            metavar="DIR",
            callback=require_folder,
            help="Folder with one folder or one photo per person.",
        ),
    ],
    gallery: options.Gallery,
    model: options.Model = DEFAULT_PRESET,
    update: bool = Option(
        False, "--update", help="Add the photos to people who are already in the gallery."
    ),
    storage: str | None = Option(
        None, help="Number format of a new gallery: float32 (default), float16 or int8."
    ),
    token: options.Token = None,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: options.PhotoFace = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Add people to a gallery from their photos.

    Photos are in DIR/PERSON/PHOTO, any number per person, or in DIR/PERSON.jpg. Finds, aligns and
    embeds the face in each photo. A person's template is the mean over the photos. Folders in a
    person's folder are skipped and listed. People who are already in the gallery stay unchanged
    and are listed. With --update, the photos are added to their templates.
    """
    from gfkeras.tasks.enroll import enroll

    with stages(quiet) as progress:
        done = enroll(
            photos, gallery, options.model_file(model, input_range, trust),
            update=update, storage=storage, token=token, aligned=aligned,
            detector=detector, face=face, flip=flip, threads=threads, progress=progress,
        )  # fmt: skip
    table([
        ("Enrolled", f"{done.enrolled:,} people, {done.photos:,} photos"),
        ("Already enrolled", f"{len(done.already_there):,} people"),
        ("Skipped", f"{len(done.skipped):,} files and folders"),
        ("Gallery", f"{gallery}: {len(done.gallery):,} people, {done.gallery.storage}")
    ])  # fmt: skip
    for name in done.already_there[:5]:
        say(f"already enrolled: {name} (--update adds photos)")
    list_skipped(done.skipped)
    for path, count in list(done.several_faces.items())[:10]:
        say(f"{path} shows {count} faces; the {done.chosen} one was used")
    for path, pixels in list(done.too_small.items())[:10]:
        say(f"{path}: the face is too small ({pixels:.0f} pixels between the eyes)")
    write_json(json, done.to_json())
    # Raise the error last: the list of skipped files above explains it.
    done.require()


def search_command(
    photo: Annotated[Path, Argument(metavar="PHOTO", callback=require_photo, help="A photo.")],
    gallery: options.ExistingGallery,
    model: str = Option(DEFAULT_PRESET, metavar="MODEL", help="The model that made the gallery."),
    k: int = Option(5, "--top", "-k", min=1, help="Number of people to list for each face."),
    far: options.Far = None,
    thresholds: options.Thresholds = None,
    threshold: options.Threshold = None,
    force: options.Force = False,
    group_aware: options.GroupAware = False,
    beta: options.Beta = None,
    gamma: options.Gamma = None,
    picture: options.Picture = None,
    token: options.Token = None,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: str | None = Option(None, help="Faces to search for: all (default), largest or central."),
    flip: options.Flip = False,
    threads: options.Threads = None,
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Find the people in a photo among the people of a gallery.

    Finds, aligns and embeds every face and compares it with everyone in the gallery. With a
    threshold, a face is unknown if its best match is below it.
    """
    from gfkeras.tasks.search import search

    if picture is not None and aligned:
        raise ValueError("`picture` needs a photo, to show where faces are. Received: --aligned")
    found = search(
        photo, gallery, options.model_file(model, input_range, trust),
        top=k, far=far, thresholds=thresholds, threshold=threshold, force=force,
        similarity=options.chosen_similarity(group_aware, beta, gamma), token=token,
        aligned=aligned, detector=detector, face=face, flip=flip, threads=threads,
    )  # fmt: skip
    for number, each in enumerate(found.faces, start=1):
        place = "" if each.box is None else " at {:.0f}, {:.0f}, {:.0f}×{:.0f} pixels"
        title = f"Face {number} of {len(found.faces)}{place.format(*each.to_json()['box'] or ())}"
        table(_rows_search(each), title)
    if found.decision is None:
        say(HOW_TO_DECIDE)
    else:
        at = "" if found.decision.far is None else f", FAR {found.decision.far:g} per comparison"
        say(f"Threshold {found.decision.threshold:.4f}{at} ({found.decision.origin})")
        if found.decision.basis is not None:
            say(f"Measured on {found.decision.basis}")
    write_json(json, found.to_json())
    if picture is not None:
        say(f"Image: {found.draw(picture)}")


def _rows_search(face: FoundFace) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for match in face.matches:
        cosine = f"  (cosine {match.cosine:.4f})" if match.similarity != match.cosine else ""
        rows.append((match.name, f"{match.similarity:.4f}{cosine}"))
    if not face.matches:
        rows.append(("Nobody", "the gallery is empty"))
    if face.too_small:
        rows.append(("Too small", f"{face.eye_distance:.0f} pixels between the eyes"))
    if face.known is False and face.too_small:
        rows.append(("Decision", "none: the face is too small"))
    elif face.known is not None:
        rows.append(("Decision", face.name or "unknown: all matches are below the threshold"))
    return rows


def cluster_command(
    sources: options.Photos,
    out: Annotated[
        Path,
        Option(callback=options.writable, help="Folder for clusters.csv and the contact sheets."),
    ],
    model: options.Model = DEFAULT_PRESET,
    method: str = Option("dbscan", help="Clustering method: dbscan or hdbscan."),
    threshold: float | None = Option(
        None,
        help="dbscan: smallest cosine of two neighbouring faces. By default, the model's "
        "threshold.",
    ),
    far: options.Far = None,
    thresholds: options.Thresholds = None,
    force: options.Force = False,
    min_faces: int = Option(2, min=1, help="Smallest number of faces in a cluster."),
    min_size: int = Option(
        40, min=0, help="Smallest face in pixels. Leaves out faces in the background."
    ),
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Sort unlabelled photos by the people in them.

    Finds, aligns and embeds every face. Similar faces form a cluster. Writes clusters.csv (photo,
    face, box, cluster) and contact sheets, with the largest clusters first.
    """
    from gfkeras.tasks.cluster import cluster

    with stages(quiet) as progress:
        found = cluster(
            sources, out, options.model_file(model, input_range, trust),
            method=method, threshold=threshold, far=far, thresholds=thresholds, force=force,
            min_faces=min_faces, min_size=min_size, aligned=aligned, detector=detector, flip=flip,
            threads=threads, progress=progress,
        )  # fmt: skip
    table(_rows_cluster(found))
    list_skipped(found.skipped)
    write_json(json, found.to_json())


def _rows_cluster(found: Clusters) -> list[tuple[str, Any]]:
    near = "by HDBSCAN" if found.threshold is None else f"{found.threshold:.4f} ({found.origin})"
    return [
        ("Faces", f"{len(found.faces):,} in {len(found.photos):,} photos"),
        ("Clusters", f"{found.count:,}; {found.in_none:,} faces are in no cluster"),
        ("Neighbours from", near),
        ("Skipped", f"{len(found.skipped):,}"),
        ("Written", f"{found.table}; contact sheets: {len(found.sheets)}"),
    ]


gallery_app = typer.Typer(
    help="List the people of a gallery, and remove people from it.", no_args_is_help=True
)


@gallery_app.command("list")
def list_command(
    gallery: options.ExistingGallery, token: options.Token = None, json: options.Json = None
) -> None:
    """List the people of a gallery, with the number of photos of each."""
    from gfkeras.tasks.gallery import list_people

    content = list_people(gallery, token)
    width, groups = content.widths or (0, None)
    table([
        ("People", f"{len(content.people):,}"),
        ("Model", content.metadata.get("model_name") or "unknown"),
        ("Storage", f"{content.storage}, {width} dimensions, {groups or 'no'} for groups")
    ])  # fmt: skip
    for name, count in content.people.items():
        say(name, str(count))
    write_json(json, content.to_json())


@gallery_app.command("remove")
def remove_command(
    gallery: options.ExistingGallery,
    names: Annotated[list[str], Argument(metavar="NAME…", help="People to remove.")],
    token: options.Token = None,
) -> None:
    """Remove people from a gallery."""
    from gfkeras.tasks.gallery import remove_people

    done = remove_people(gallery, names, token)
    say(f"People removed: {done.removed:,}, people left: {done.left:,}")
