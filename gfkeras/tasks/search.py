"""Search for the people in a photo in a gallery."""

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
from gfkeras.inference.embeddings import from_aligned
from gfkeras.inference.pictures import NEUTRAL, OTHER, SAME, Mark, annotated_photo
from gfkeras.tasks.alignment import make_alignment
from gfkeras.tasks.decision import Decision, check_decision, make_decision
from gfkeras.tasks.gallery import open_gallery
from gfkeras.tasks.photo_files import check_drawn, require_gallery, require_photo
from gfkeras.zoo import DEFAULT_PRESET


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face in a photo, and the most similar people of the gallery.

    Attributes:
        box: x, y, width and height in pixels of the photo, or None for an aligned face.
        landmarks: (5, 2), points in pixels of the photo, or None for an aligned face.
        matches: the most similar people, the best first. Empty for an empty gallery.
        known: whether the best match reaches the threshold, or None without a threshold.
        rotated: clockwise rotation in degrees that found the face.
        eye_distance: pixels between the eyes, or NaN for an aligned face.
    """

    box: np.ndarray | None
    landmarks: np.ndarray | None
    matches: Sequence[Match]
    known: bool | None
    rotated: int = 0
    eye_distance: float = float("nan")

    @property
    def too_small(self) -> bool:
        """Whether the face has too few pixels to recognise the person."""
        return self.eye_distance < MIN_EYE_DISTANCE

    @property
    def name(self) -> str | None:
        """The name of the best match if it reaches the threshold, or None."""
        return self.matches[0].name if self.known else None

    def to_json(self) -> dict[str, Any]:
        """Returns box and matches, and the name if there is a threshold."""
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
        """Returns the box and label to draw for a face that was found in a photo."""
        assert self.box is not None
        assert self.landmarks is not None
        if self.known is False:
            return Mark(self.box, self.landmarks, "unknown", OTHER)
        best = self.matches[0] if self.matches else None
        label = "" if best is None else f"{best.name.replace('_', ' ')} {best.similarity:.2f}"
        return Mark(self.box, self.landmarks, label, SAME if self.known else NEUTRAL)


@dataclass(frozen=True, eq=False)
class PhotoSearch:
    """The faces in a photo and their matches in a gallery.

    Attributes:
        photo: the photo.
        faces: the faces, with the most certain detection first.
        people: number of people in the gallery.
        decision: the threshold and its origin, or None without thresholds.
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
        """Draws the photo with its faces and their names, and writes a .png or .jpg file.

        Raises ValueError for an aligned face, whose place in a photo is unknown.
        """
        check_drawn(path, "path")
        if any(face.box is None for face in self.faces):
            raise ValueError(
                "`draw` needs a photo, to show where faces are. Received: an aligned face"
            )
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
    """Finds the people in a photo among the people of a gallery.

    Finds, aligns and embeds every face and compares it with everyone in the gallery. With a
    threshold, a face is unknown if its best match is below it.

    Args:
        photo: a photo, in any form that `gfkeras.data.read_photo` takes.
        gallery: a gallery file, a .db file for Milvus Lite, or the URL of a Milvus server.
        model: the model that made the gallery.
        top: number of people to list for each face.
        far, thresholds, threshold, force, similarity, aligned, detector, flip, threads: as for
            `gfkeras.tasks.compare.compare`.
        token: access token of the Milvus server.
        face: faces to search for, "all" (default), "largest" or "central".

    Raises:
        ImageError: if the photo cannot be read. It is a ValueError.
        ValueError: if the photo has no face, if the gallery does not exist or was made with another
            model, or if arguments do not fit together.

    Example:
        found = search("party.jpg", "faces.gallery", far=1e-3)
        print([face.name for face in found.faces])
    """
    # Check photo, gallery and arguments before the model is loaded, which takes seconds.
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
        # There is only one photo, so its reason is the error.
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
