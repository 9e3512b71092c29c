"""`gfkeras compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from gfkeras.cli import options
from gfkeras.cli.output import HOW_TO_DECIDE, say, table, write_json
from gfkeras.tasks.photo_files import require_photo
from gfkeras.zoo import DEFAULT_PRESET

if TYPE_CHECKING:
    from gfkeras.tasks.compare import Comparison


def command(
    first: Annotated[Path, Argument(metavar="A", callback=require_photo, help="A photo.")],
    second: Annotated[Path, Argument(metavar="B", callback=require_photo, help="Another photo.")],
    model: options.Model = DEFAULT_PRESET,
    far: options.Far = None,
    thresholds: options.Thresholds = None,
    threshold: options.Threshold = None,
    group_aware: options.GroupAware = False,
    beta: options.Beta = None,
    gamma: options.Gamma = None,
    picture: options.Picture = None,
    aligned: options.Aligned = False,
    detector: options.PhotoDetector = None,
    face: options.PhotoFace = None,
    flip: options.Flip = False,
    threads: options.Threads = None,
    json: options.Json = None,
) -> None:
    """Compare the faces of two photos.

    The face of each photo is found, aligned and embedded. Whether it is one person is decided at a
    FAR by thresholds that `gfkeras evaluate` measured.
    """
    from gfkeras.tasks.compare import compare

    found = compare(
        first, second, model, far=far, thresholds=thresholds, threshold=threshold,
        similarity=options.chosen_similarity(group_aware, beta, gamma), aligned=aligned,
        detector=detector, face=face, flip=flip, threads=threads,
    )  # fmt: skip
    table(_rows(found))
    if found.decision is None:
        say(HOW_TO_DECIDE)
    write_json(json, found.to_json())
    if picture is not None:
        say(f"Picture: {found.draw(picture)}")


def _rows(found: Comparison) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [("Cosine", found.cosine)]
    if found.groups is not None:
        rows.append(("Group-aware similarity", found.group_aware_similarity))
        rows.append(("Groups", "{} and {}".format(*found.groups)))
    if found.faces is not None:
        # Where there are several, another one may have been meant.
        rows.append(("Faces in the photos", "{} and {}".format(*found.faces)))
    if found.decision is not None:
        at = "" if found.decision.far is None else f" at FAR {found.decision.far:g}"
        rows.append(("Decision", f"{found.verdict}{at}"))
        rows.append(("Threshold", f"{found.decision.threshold:.4f} ({found.decision.origin})"))
    return rows
