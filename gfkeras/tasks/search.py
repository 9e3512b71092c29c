"""Search of a photo's people in a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data import read_photo
from gfkeras.data.alignment import MIN_EYE_DISTANCE
from gfkeras.data.photos import Photo, photo_name
from gfkeras.evaluation import COSINE, Similarity
from gfkeras.files import PathLike, replacing
from gfkeras.inference import Embedder, Match
from gfkeras.inference.photos import from_aligned
from gfkeras.inference.pictures import NEUTRAL, OTHER, SAME, Mark, annotated_photo
from gfkeras.tasks.alignment import make_alignment
from gfkeras.tasks.decision import Decision, check_decision, make_decision
from gfkeras.tasks.gallery import open_gallery
from gfkeras.tasks.photo_files import check_drawn, require_gallery, require_photo
from gfkeras.zoo import DEFAULT_PRESET


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face of a photo, and the people of the gallery who are most like it."""

    # x, y, width and height, and (5, 2) points, in pixels of the photo; None for an aligned face.
    box: np.ndarray | None
    landmarks: np.ndarray | None
    # The best first; empty for an empty gallery.
    matches: Sequence[Match]
    # Whether the best match reaches the threshold; None where there is no decision.
    known: bool | None
    # Degrees clockwise by which the photo was turned, and pixels between the eyes, NaN if aligned.
    rotated: int = 0
    eye_distance: float = float("nan")

    @property
    def too_small(self) -> bool:
        """Whether the face has too few pixels to tell people apart."""
        return self.eye_distance < MIN_EYE_DISTANCE

    @property
    def name(self) -> str | None:
        """The best match, if it reaches the threshold."""
        return self.matches[0].name if self.known else None

    def to_json(self) -> dict[str, Any]:
        """Box and matches, and the name where there is a decision."""
        box = None if self.box is None else [round(float(value), 1) for value in self.box]
        matches = [
            {"name": m.name, "similarity": m.similarity, "cosine": m.cosine, "photos": m.photos}
            for m in self.matches
        ]
        named = {} if self.known is None else {"name": self.name}
        place = {} if self.box is None else {
            "rotated": self.rotated,
            "eye_distance": round(self.eye_distance, 1),
            "too_small": self.too_small,
        }  # fmt: skip
        return {"box": box, **place, "matches": matches, **named}

    def mark(self) -> Mark:
        """The box and label of a face that was found in a photo."""
        assert self.box is not None
        assert self.landmarks is not None
        if self.known is False:
            return Mark(self.box, self.landmarks, "unknown", OTHER)
        best = self.matches[0] if self.matches else None
        label = "" if best is None else f"{best.name.replace('_', ' ')} {best.similarity:.2f}"
        return Mark(self.box, self.landmarks, label, SAME if self.known else NEUTRAL)


@dataclass(frozen=True, eq=False)
class PhotoSearch:
    """The faces of a photo, the surest first, with their matches among `people` in a gallery.

    `decision` is None where there are no thresholds.
    """

    photo: Photo
    faces: list[FoundFace]
    people: int
    decision: Decision | None

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras search --json`."""
        return {
            "faces": [face.to_json() for face in self.faces],
            "people": self.people,
            "decision": None if self.decision is None else self.decision.to_json(),
        }

    def draw(self, path: PathLike) -> Path:
        """Draws the photo with its faces and their names into a .png or .jpg.

        Raises ValueError for a face that was aligned already: its place is not known.
        """
        check_drawn(path, "path")
        if any(face.box is None for face in self.faces):
            raise ValueError("`path` shows where faces are in a photo, and this one was aligned.")
        drawn = annotated_photo(read_photo(self.photo), [face.mark() for face in self.faces])
        with replacing(path) as temporary:
            drawn.save(temporary, quality=92)
        return Path(path)


def search(
    photo: Photo,
    gallery: PathLike,
    model: PathLike = DEFAULT_PRESET,
    *,
    top: int = 5,
    far: float | None = None,
    thresholds: PathLike | None = None,
    threshold: float | None = None,
    force: bool = False,
    similarity: Similarity | None = None,
    token: str | None = None,
    aligned: bool = False,
    detector: PathLike | None = None,
    face: str | None = None,
    flip: bool = False,
    threads: int | None = None,
) -> PhotoSearch:
    """Finds the people of a photo in a gallery, exactly.

    Every face is found, aligned, embedded and compared with everybody enrolled. With thresholds, a
    face whose best match does not reach them is unknown.

    Args:
        photo: a photo of anybody, in any form that `gfkeras.data.read_photo` takes.
        gallery: a file, one ending in .db for Milvus Lite, or a Milvus URL.
        model: the model that the gallery was made with.
        top: people listed for a face.
        far, thresholds, threshold, force, similarity, aligned, detector, flip, threads: as of
            `gfkeras.tasks.compare.compare`.
        token: token of a Milvus cluster.
        face: which faces of the photo, "all" (default), "largest" or "central".

    Raises:
        ImageError: for a photo that cannot be read. It is a ValueError.
        ValueError: for a photo without a face, a gallery that is not there or was made with
            another model, and arguments that do not fit together.

    Example:
        found = search("party.jpg", "faces.gallery", far=1e-3)
        print([face.name for face in found.faces])
    """
    source = require_photo(photo)
    require_gallery(gallery)
    check_decision(far, thresholds, threshold, similarity)
    alignment = make_alignment(not aligned, detector, face, choose="all")
    embedder = Embedder(model, flip=flip, num_threads=threads)
    people = open_gallery(gallery, token, embedder)
    decision = make_decision(model, embedder, similarity, far, thresholds, threshold, force)
    aligner = alignment(embedder.image_size)
    if aligner is None:
        faces = from_aligned(embedder.embed_files([source]))
    else:
        faces = embedder.embed_photos([source], aligner)
    if faces.embeddings is None:
        raise ValueError(f"{photo_name(source)}: {faces.skipped[0][1]}")
    used = similarity or (COSINE if decision is None else decision.similarity)
    found = [
        FoundFace(
            None if aligned else faces.box[number],
            None if aligned else faces.landmarks[number],
            matches,
            decision.same(matches[0].similarity) if decision and matches else None,
            int(faces.rotated[number]),
            float(faces.eye_distance[number]),
        )
        for number, matches in enumerate(people.search(faces.embeddings, top, used))
    ]
    return PhotoSearch(source, found, len(people), decision)
