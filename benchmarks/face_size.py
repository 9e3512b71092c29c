"""Effect of small faces: verification by the distance between the eyes.

    python benchmarks/face_size.py DATA [--model MODEL] [--eyes 6,8,…] [--every N]

DATA holds `lfw_raw250`, photos of 250×250 pixels in a folder per person. Each photo is scaled down
until the eyes of its face have the given distance. Then it is detected, aligned and embedded like
any photo. The threshold accepts one of a thousand impostor pairs at full size. Two kinds of pairs
are compared at this threshold:

- large with small: a full-size photo with the small face of another photo
- both small.

Prints a table in Markdown. A genuine pair with an undetected face counts as not accepted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from gfkeras.data import FaceAligner, FaceDetector, read_photo
from gfkeras.inference import Embedder

YUNET = "models/face_detection_yunet_2023mar.onnx"


def embedded(
    embedder: Embedder, aligner: FaceAligner, photos: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns embeddings (M, D) of the photos with a detected face, and their positions."""
    found = embedder.embed_photos(photos, aligner)
    return found.embeddings.embedding, found.photo


def scaled(photo: np.ndarray, scale: float) -> np.ndarray:
    return photo if scale >= 1 else cv2.resize(photo, None, fx=scale, fy=scale,
                                               interpolation=cv2.INTER_AREA)  # fmt: skip


def rates(scores: np.ndarray, same: np.ndarray, other: np.ndarray, threshold: float, lost: int):
    """Returns the shares of genuine and impostor pairs accepted, in per cent."""
    accepted = scores >= threshold
    genuine = 100 * accepted[same].sum() / (same.sum() + lost)
    return genuine, 100 * accepted[other].mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with lfw_raw250/ and models/")
    parser.add_argument("--model", default="h_groupface_mobilefacenet", help="model to measure")
    parser.add_argument(
        "--eyes", default="6,8,10,12,14,16,20,24,32", help="distances between the eyes, pixels"
    )
    parser.add_argument("--every", type=int, default=1, help="take only every Nth person")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    people = sorted((options.data / "lfw_raw250").iterdir())[:: options.every]
    files = [(label, file) for label, person in enumerate(people) for file in person.glob("*.jpg")]
    labels = np.array([label for label, _ in files])
    photos = [read_photo(file) for _, file in files]
    # LFW's photos can show several people. The central face belongs to the label.
    aligner = FaceAligner(FaceDetector(options.data / YUNET), choose="central")
    embedder = Embedder(options.model, num_threads=1)
    full, kept = embedded(embedder, aligner, photos)
    assert len(kept) == len(photos), "a face is not found at full size"
    distances = np.array([aligner.face(photo).eye_distance for photo in photos])
    pairs = np.triu(np.ones((len(photos), len(photos)), bool), 1)
    same = (labels[:, None] == labels) & pairs
    other = (labels[:, None] != labels) & pairs
    scores = full @ full.T
    # The threshold stays fixed: a deployed system does not know the sizes of faces in advance.
    threshold = float(np.quantile(scores[other], 0.999))
    print(f"{len(photos)} photos, {same.sum()} genuine and {other.sum():,} impostor pairs, "
          f"threshold {threshold:.3f}, eyes {np.median(distances):.0f} px apart\n")  # fmt: skip
    print("| eyes, px | found % | cosine to full size | TAR %, large with small | FAR % "
          "| TAR %, both small | FAR % |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for eyes in [*map(float, options.eyes.split(",")), np.inf]:
        small = [scaled(p, eyes / d) for p, d in zip(photos, distances, strict=True)]
        found, kept = (full, kept) if eyes == np.inf else embedded(embedder, aligner, small)
        # Photos without a detected face keep a zero row and are masked below.
        rows = np.zeros_like(full)
        rows[kept] = found
        there = np.zeros(len(photos), bool)
        there[kept] = True
        cosine = float(np.median((rows[kept] * full[kept]).sum(axis=1)))
        one, both = full @ rows.T, rows @ rows.T
        wide = there[None, :] & np.ones((len(photos), 1), bool)
        first = rates(one, same & wide, other & wide, threshold, (same & ~wide).sum())
        two = there[:, None] & there
        second = rates(both, same & two, other & two, threshold, (same & ~two).sum())
        name = f"{eyes:g}" if eyes < np.inf else "full size"
        print(f"| {name} | {100 * there.mean():.1f} | {cosine:.3f} | {first[0]:.1f} | "
              f"{first[1]:.2f} | {second[0]:.1f} | {second[1]:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
