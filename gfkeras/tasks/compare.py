"""Comparison of the faces in two photos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data import read_photo
from gfkeras.data.alignment import AlignedFace
from gfkeras.data.photos import Photo, photo_name
from gfkeras.evaluation import COSINE, GROUP_AWARE, Similarity
from gfkeras.files import PathLike, replacing
from gfkeras.inference import Embedder, Embeddings
from gfkeras.inference.pictures import NEUTRAL, OTHER, SAME, Mark, comparison_picture
from gfkeras.tasks.alignment import face_reader, make_alignment
from gfkeras.tasks.decision import Decision, check_decision, make_decision
from gfkeras.tasks.photo_files import check_drawn, require_photo
from gfkeras.zoo import DEFAULT_PRESET


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result of comparing the faces of two photos.

    Attributes:
        photos: the two photos, files as paths.
        images: the two aligned faces, (2, S, S, 3) uint8, RGB.
        embeddings: the embeddings of the two faces.
        found: the faces with their places in the photos, or None for aligned images.
        similarity: the similarity that decides, computed by `scored_by`.
        cosine: the cosine of the two embeddings.
        group_aware_similarity: None for a model without groups.
        decision: the threshold and its origin, or None without thresholds.
        scored_by: the measure of similarity.
    """

    photos: tuple[Photo, Photo]
    images: np.ndarray
    embeddings: Embeddings
    found: tuple[AlignedFace, AlignedFace] | None
    similarity: float
    cosine: float
    group_aware_similarity: float | None
    decision: Decision | None
    scored_by: Similarity = COSINE

    @property
    def same(self) -> bool | None:
        """Whether both photos show the same person, or None without a threshold.

        `unsure_faces` can also make it None. If one face is unsure, a low similarity means nothing,
        because the face can be too small or not a face. If both faces are unsure, a high similarity
        means nothing either, because small faces look alike.
        """
        if self.decision is None:
            return None
        same, unsure = self.decision.same(self.similarity), len(self.unsure_faces)
        return None if unsure == 2 or (unsure and not same) else same

    @property
    def verdict(self) -> str:
        """The decision as text."""
        if self.same is None:
            if any(face.too_small for face in self.found or ()):
                return "No decision: a face is too small"
            return "No decision: perhaps no face" if self.unsure_faces else "No decision"
        return "Same person" if self.same else "Different people"

    @property
    def groups(self) -> tuple[int, int] | None:
        """The group of each face, or None for a model without groups."""
        group = self.embeddings.group
        return None if group is None else (int(group[0]), int(group[1]))

    @property
    def faces(self) -> tuple[int, int] | None:
        """The number of faces in each photo, or None for aligned images."""
        return None if self.found is None else (self.found[0].faces, self.found[1].faces)

    @property
    def rotated(self) -> tuple[int, int] | None:
        """The clockwise rotation in degrees that found each face, or None for aligned images."""
        return None if self.found is None else (self.found[0].rotated, self.found[1].rotated)

    @property
    def unsure_faces(self) -> list[str]:
        """A line for each face that is too small to recognise or may not be a face."""
        found = zip(self.photos, self.found or (), strict=False)
        return [f"{photo_name(photo)}: {face.problem}" for photo, face in found if face.problem]

    def to_json(self) -> dict[str, Any]:
        """The content of `gfkeras compare --json`."""
        results: dict[str, Any] = {"cosine": self.cosine}
        if self.groups is not None:
            results["group_aware_similarity"] = self.group_aware_similarity
            results["groups"] = list(self.groups)
        if self.faces is not None:
            results["faces"] = list(self.faces)
        if self.found is not None:
            results["rotated"] = [face.rotated for face in self.found]
            results["eye_distance"] = [round(face.eye_distance, 1) for face in self.found]
            results["too_small"] = [face.too_small for face in self.found]
            results["unsure"] = self.unsure_faces
        results["similarity"] = self.similarity
        if self.decision is not None:
            results |= {"same": self.same, "decision": self.decision.to_json()}
        return results

    def draw(self, path: PathLike) -> Path:
        """Draws both photos with their faces and the result, and writes a .png or .jpg file."""
        check_drawn(path, "path")
        color, lines = NEUTRAL, [f"Similarity {self.similarity:.3f}"]
        if (decision := self.decision) is not None:
            color = NEUTRAL if self.same is None else SAME if self.same else OTHER
            at = "" if decision.far is None else f" at FAR {decision.far:g}"
            lines = [f"{lines[0]}, threshold {decision.threshold:.3f}{at}", decision.origin]
        # Aligned images have no place in a photo, so they are drawn without marks.
        shown = list(self.images)
        marks: list[Mark | None] = [None, None]
        if self.found is not None:
            shown = [read_photo(photo) for photo in self.photos]
            marks = [
                None if face.box is None else Mark(face.box, face.landmarks, "", color)
                for face in self.found
            ]
        drawn = comparison_picture(shown, marks, self.verdict, lines, color)
        with replacing(path) as temporary:
            drawn.save(temporary, quality=92)
        return Path(path)


def compare(
    first: Photo,
    second: Photo,
    model: PathLike = DEFAULT_PRESET,
    *,
    far: float | None = None,
    thresholds: PathLike | None = None,
    threshold: float | None = None,
    force: bool = False,
    similarity: Similarity | None = None,
    aligned: bool = False,
    detector: PathLike | None = None,
    face: str | None = None,
    flip: bool = False,
    threads: int | None = None,
) -> Comparison:
    """Compares the faces of two photos.

    Finds, aligns and embeds the face in each photo. A threshold decides whether both photos show
    the same person: `threshold`, or a threshold of the model at `far`, which `gfkeras evaluate`
    measured.

    Args:
        first, second: photos: a path, the bytes of a file, a PIL image or an array (H, W, 3), RGB.
        model: a preset, a model folder or an artefact.
        far: false accept rate to decide at, such as 1e-3.
        thresholds: file that `gfkeras evaluate --thresholds` wrote. By default, the thresholds of
            the model.
        threshold: similarity to decide at, instead of `far` and `thresholds`.
        force: use thresholds with fewer than ten expected false accepts.
        similarity: measure that decides. By default, that of the thresholds, or the cosine.
        aligned: the images are faces of the model's size, aligned by five points already.
        detector: YuNet file. By default, it is downloaded once.
        face: face to take from a photo, "largest" (default) or "central".
        flip: also embed the mirror image, and add the two embeddings.
        threads: threads of the runtime. By default, the runtime chooses.

    Returns:
        A `Comparison`. Its `same` is None if there is no threshold or if a face is too small.

    Raises:
        ImageError: if a photo cannot be read or shows no face. It is a ValueError.
        ValueError: if the model cannot be read or arguments do not fit together.

    Example:
        comparison = compare("a.jpg", "b.jpg", far=1e-3)
        print(comparison.same, comparison.similarity)
        comparison.draw("both.png")
    """
    # All checks that need no model come first: loading a model takes seconds.
    photos = (require_photo(first), require_photo(second))
    check_decision(far, thresholds, threshold, similarity)
    alignment = make_alignment(not aligned, detector, face)
    embedder = Embedder(model, flip=flip, num_threads=threads)
    decision = make_decision(model, embedder, similarity, far, thresholds, threshold, force)
    aligner = alignment(embedder.image_size)
    found = None if aligner is None else (aligner.face(photos[0]), aligner.face(photos[1]))
    if found is None:
        images = np.stack(list(map(face_reader(None, embedder.image_size), photos)))
    else:
        images = np.stack([face.image for face in found])
    # Both faces in one batch: this is faster than two calls.
    embeddings = embedder(images)
    group = embeddings.group_feature
    groups = (None, None) if group is None else (group[:1], group[1:])
    pair = (embeddings.embedding[:1], embeddings.embedding[1:], *groups)
    used = similarity or (COSINE if decision is None else decision.similarity)
    # The result reports the group-aware similarity even if the cosine decides.
    aware = None
    if group is not None and embeddings.group is not None:
        aware = float((used if used.group_aware else GROUP_AWARE)(*pair)[0])
    score, cosine = float(used(*pair)[0]), float(COSINE(*pair)[0])
    return Comparison(photos, images, embeddings, found, score, cosine, aware, decision, used)
