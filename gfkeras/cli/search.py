"""`gfkeras search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._align import AlignedOption, PhotoDetectorOption, photo_aligner
from gfkeras.cli._decision import (
    HOW_TO_DECIDE,
    Decision,
    FarOption,
    ThresholdOption,
    ThresholdsOption,
    make_decision,
)
from gfkeras.cli._gallery import GalleryArgument, TokenOption, open_gallery
from gfkeras.cli._output import DEFAULT_MODEL, JsonOption, ThreadsOption, say, table, write_json
from gfkeras.cli._similarity import BetaOption, GammaOption, GroupAwareOption, make_similarity
from gfkeras.cli.compare import check_picture

if TYPE_CHECKING:
    from gfkeras.inference import Match
    from gfkeras.inference.photos import PhotoFaces


def command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo of anybody.")],
    gallery: GalleryArgument,
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="The model that the gallery was made with.")
    ] = DEFAULT_MODEL,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="People listed for a face.")] = 5,
    far: FarOption = None,
    thresholds: ThresholdsOption = None,
    threshold: ThresholdOption = None,
    group_aware: GroupAwareOption = False,
    beta: BetaOption = None,
    gamma: GammaOption = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the photo with faces and names (.png, .jpg)."),
    ] = None,
    token: TokenOption = None,
    aligned: AlignedOption = False,
    detector: PhotoDetectorOption = None,
    face: Annotated[
        str | None, typer.Option(help="all (default), largest or central: which faces.")
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    threads: ThreadsOption = None,
    json: JsonOption = None,
) -> None:
    """Find the people of a photo in a gallery, exactly.

    Every face is found, aligned, embedded and compared with everybody enrolled. With thresholds a
    face whose best match does not reach them is said to be unknown.
    """
    check_picture(picture)
    if picture is not None and aligned:
        raise ValueError("`picture` shows where faces are in a photo: leave out --aligned.")
    wanted = make_similarity(group_aware, beta, gamma) if group_aware else None
    load_keras()
    from gfkeras.evaluation import COSINE
    from gfkeras.inference import Embedder

    embedder = Embedder(model, flip=flip, num_threads=threads)
    people = open_gallery(gallery, token, embedder)
    decision = make_decision(model, embedder, wanted, far, thresholds, threshold)
    aligner = photo_aligner(aligned, detector, face, embedder.image_size, choose="all")
    used = wanted or (COSINE if decision is None else decision.similarity)
    from gfkeras.inference.photos import from_aligned

    if aligner is None:
        faces = from_aligned(embedder.embed_files([photo]))
    else:
        faces = embedder.embed_photos([photo], aligner)
    if faces.embeddings is None:
        raise ValueError(f"{photo}: {faces.skipped[0][1]}")
    matches = people.search(faces.embeddings, k, used)
    results = []
    for number, listed in enumerate(matches, start=1):
        rows, result = _face_rows(listed, decision)
        place_of = faces.box[number - 1]
        box = None if aligned else [round(float(value), 1) for value in place_of]
        place = "" if box is None else " at {:.0f}, {:.0f}, {:.0f}×{:.0f} pixels".format(*box)
        table(rows, f"Face {number} of {len(matches)}{place}")
        results.append({"box": box, **result})
    if decision is None:
        say(HOW_TO_DECIDE)
    else:
        at = "" if decision.far is None else f", FAR {decision.far:g} a comparison"
        say(f"Threshold {decision.threshold:.4f}{at} ({decision.origin})")
    write_json(json, {
        "faces": results,
        "people": len(people),
        "decision": None if decision is None else decision.to_json(),
    })  # fmt: skip
    if picture is not None:
        _draw(picture, photo, faces, matches, decision)
        say(f"Picture: {picture}")


def _face_rows(
    matches: list[Match], decision: Decision | None
) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for match in matches:
        text = f"{match.similarity:.4f}"
        if match.similarity != match.cosine:
            text += f"  (cosine {match.cosine:.4f})"
        rows.append((match.name, text))
    result: dict[str, Any] = {
        "matches": [
            {"name": m.name, "similarity": m.similarity, "cosine": m.cosine, "photos": m.photos}
            for m in matches
        ]
    }
    if not matches:
        rows.append(("Nobody", "the gallery is empty"))
    if decision is not None and matches:
        known = decision.same(matches[0].similarity)
        result["name"] = matches[0].name if known else None
        verdict = matches[0].name if known else "unknown: nobody reaches the threshold"
        rows.append(("Decision", verdict))
    return rows, result


def _draw(
    path: Path,
    photo: Path,
    faces: PhotoFaces,
    matches: list[list[Match]],
    decision: Decision | None,
) -> None:
    from gfkeras.data import read_photo
    from gfkeras.files import replacing
    from gfkeras.inference.pictures import NEUTRAL, OTHER, SAME, Mark, annotated_photo

    marks = []
    for box, landmarks, listed in zip(faces.box, faces.landmarks, matches, strict=True):
        label, color = "", NEUTRAL
        if listed:
            best = listed[0]
            known = decision is None or decision.same(best.similarity)
            label = f"{best.name.replace('_', ' ')} {best.similarity:.2f}" if known else "unknown"
            color = NEUTRAL if decision is None else SAME if known else OTHER
        marks.append(Mark(box, landmarks, label, color))
    drawn = annotated_photo(read_photo(photo), marks)
    with replacing(path) as temporary:
        drawn.save(temporary, quality=92)
