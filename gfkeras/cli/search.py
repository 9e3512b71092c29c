"""`gfkeras search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import HOW_TO_DECIDE, say, table, write_json
from gfkeras.tasks.photo_files import require_photo
from gfkeras.zoo import DEFAULT_PRESET

if TYPE_CHECKING:
    from gfkeras.tasks.search import FoundFace


def command(
    photo: Annotated[Path, Argument(metavar="PHOTO", callback=require_photo, help="A photo.")],
    gallery: options.ExistingGallery,
    model: Annotated[
        str, Option(metavar="MODEL", help="The model that the gallery was made with.")
    ] = DEFAULT_PRESET,
    k: Annotated[int, Option("--top", "-k", min=1, help="People listed for a face.")] = 5,
    far: options.Far = None,
    thresholds: options.Thresholds = None,
    threshold: options.Threshold = None,
    group_aware: options.GroupAware = False,
    beta: options.Beta = None,
    gamma: options.Gamma = None,
    picture: options.Picture = None,
    token: options.Token = None,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: Annotated[
        str | None, Option(help="all (default), largest or central: which faces.")
    ] = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    json: options.Json = None,
) -> None:
    """Find the people of a photo in a gallery, exactly.

    Every face is found, aligned, embedded and compared with everybody enrolled. With thresholds a
    face whose best match does not reach them is said to be unknown.
    """
    from gfkeras.tasks.search import search

    if picture is not None and aligned:
        raise ValueError("`picture` shows where faces are in a photo: leave out --aligned.")
    found = search(
        photo, gallery, model, top=k, far=far, thresholds=thresholds, threshold=threshold,
        similarity=options.chosen_similarity(group_aware, beta, gamma), token=token,
        aligned=aligned, detector=detector, face=face, flip=flip, threads=threads,
    )  # fmt: skip
    for number, each in enumerate(found.faces, start=1):
        place = "" if each.box is None else " at {:.0f}, {:.0f}, {:.0f}×{:.0f} pixels"
        title = f"Face {number} of {len(found.faces)}{place.format(*each.to_json()['box'] or ())}"
        table(_rows(each), title)
    if found.decision is None:
        say(HOW_TO_DECIDE)
    else:
        at = "" if found.decision.far is None else f", FAR {found.decision.far:g} a comparison"
        say(f"Threshold {found.decision.threshold:.4f}{at} ({found.decision.origin})")
    write_json(json, found.to_json())
    if picture is not None:
        say(f"Picture: {found.draw(picture)}")


def _rows(face: FoundFace) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for match in face.matches:
        cosine = f"  (cosine {match.cosine:.4f})" if match.similarity != match.cosine else ""
        rows.append((match.name, f"{match.similarity:.4f}{cosine}"))
    if not face.matches:
        rows.append(("Nobody", "the gallery is empty"))
    if face.known is not None:
        rows.append(("Decision", face.name or "unknown: nobody reaches the threshold"))
    return rows
