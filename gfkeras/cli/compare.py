"""`gfkeras compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._align import AlignedOption, PhotoDetectorOption, PhotoFaceOption, photo_aligner
from gfkeras.cli._decision import (
    HOW_TO_DECIDE,
    Decision,
    FarOption,
    ThresholdOption,
    ThresholdsOption,
    make_decision,
)
from gfkeras.cli._output import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    ThreadsOption,
    say,
    table,
    write_json,
)
from gfkeras.cli._similarity import BetaOption, GammaOption, GroupAwareOption, make_similarity

if TYPE_CHECKING:
    from gfkeras.data.alignment import AlignedFace


def command(
    first: Annotated[Path, typer.Argument(metavar="A", help="A photo.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    model: ModelOption = DEFAULT_MODEL,
    far: FarOption = None,
    thresholds: ThresholdsOption = None,
    threshold: ThresholdOption = None,
    group_aware: GroupAwareOption = False,
    beta: BetaOption = None,
    gamma: GammaOption = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw both photos, faces and result (.png, .jpg)."),
    ] = None,
    aligned: AlignedOption = False,
    detector: PhotoDetectorOption = None,
    face: PhotoFaceOption = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    threads: ThreadsOption = None,
    json: JsonOption = None,
) -> None:
    """Compare the faces of two photos.

    The face of each photo is found, aligned and embedded. Whether it is one person is decided at a
    FAR by thresholds that `gfkeras evaluate` measured.
    """
    check_picture(picture)
    wanted = make_similarity(group_aware, beta, gamma) if group_aware else None
    load_keras()
    import numpy as np

    from gfkeras.data import read_image
    from gfkeras.evaluation import COSINE, GROUP_AWARE
    from gfkeras.inference import Embedder

    embedder = Embedder(model, flip=flip, num_threads=threads)
    decision = make_decision(model, embedder, wanted, far, thresholds, threshold)
    aligner = photo_aligner(aligned, detector, face, embedder.image_size)
    faces = [None if aligner is None else aligner.face(path) for path in (first, second)]
    images = [
        read_image(path, embedder.image_size) if found is None else found.image
        for path, found in zip((first, second), faces, strict=True)
    ]
    found = embedder(np.stack(images))
    group = found.group_feature
    groups = (None, None) if group is None else (group[:1], group[1:])
    pair = (found.embedding[:1], found.embedding[1:], *groups)
    results: dict[str, Any] = {"cosine": float(COSINE(*pair)[0])}
    rows: list[tuple[str, Any]] = [("Cosine", results["cosine"])]
    used = wanted or (COSINE if decision is None else decision.similarity)
    if group is not None and found.group is not None:
        by_groups = used if used.group_aware else GROUP_AWARE
        results["group_aware_similarity"] = float(by_groups(*pair)[0])
        results["groups"] = [int(number) for number in found.group]
        rows += [
            ("Group-aware similarity", results["group_aware_similarity"]),
            ("Groups", "{} and {}".format(*results["groups"])),
        ]
    if aligner is not None:
        # Where there are several, another one may have been meant.
        results["faces"] = [1 if f is None else f.faces for f in faces]
        rows.append(("Faces in the photos", "{} and {}".format(*results["faces"])))
    similarity = float(used(*pair)[0])
    results["similarity"] = similarity
    verdict = "No decision"
    if decision is not None:
        results["same"] = decision.same(similarity)
        results["decision"] = decision.to_json()
        verdict = "Same person" if results["same"] else "Different people"
        rows += decision_rows(decision, verdict)
    table(rows)
    if decision is None:
        say(HOW_TO_DECIDE)
    write_json(json, results)
    if picture is not None:
        _draw(picture, (first, second), faces, images, similarity, decision, verdict)
        say(f"Picture: {picture}")


def decision_rows(decision: Decision, verdict: str) -> list[tuple[str, Any]]:
    """What is decided, by which threshold, and where that comes from."""
    at = "" if decision.far is None else f" at FAR {decision.far:g}"
    return [
        ("Decision", f"{verdict}{at}"),
        ("Threshold", f"{decision.threshold:.4f} ({decision.origin})"),
    ]


def check_picture(picture: Path | None) -> None:
    """Raises ValueError for a picture of another format."""
    if picture is not None and picture.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"`picture` must end in .png or .jpg. Received: picture={str(picture)!r}")


def _draw(
    path: Path,
    photos: tuple[Path, Path],
    faces: list[AlignedFace | None],
    images: list[Any],
    similarity: float,
    decision: Decision | None,
    verdict: str,
) -> None:
    from gfkeras.data import read_photo
    from gfkeras.files import replacing
    from gfkeras.inference.pictures import NEUTRAL, OTHER, SAME, Mark, comparison_picture

    color = NEUTRAL
    lines = [f"Similarity {similarity:.3f}"]
    if decision is not None:
        color = SAME if decision.same(similarity) else OTHER
        at = "" if decision.far is None else f" at FAR {decision.far:g}"
        lines = [f"Similarity {similarity:.3f}, threshold {decision.threshold:.3f}{at}",
                 decision.origin]  # fmt: skip
    marks = [
        None if face is None or face.box is None else Mark(face.box, face.landmarks, "", color)
        for face in faces
    ]
    shown = [
        image if face is None else read_photo(photo)
        for photo, face, image in zip(photos, faces, images, strict=True)
    ]
    drawn = comparison_picture(shown, marks, verdict, lines, color)
    with replacing(path) as temporary:
        drawn.save(temporary, quality=92)
