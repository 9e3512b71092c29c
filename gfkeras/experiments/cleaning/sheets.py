"""Pictures of what was dropped, beside the people it was given to and looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gfkeras.data import Faces, RecordSet
from gfkeras.data.statistics import contact_sheet
from gfkeras.experiments.cleaning.result import DroppedImage
from gfkeras.experiments.cleaning.sub_centers import DominantCenters
from gfkeras.files import replacing

_ROWS, _PAGES, _LIKENESSES = 20, 10, 3


def write_sheets(
    out: Path, faces: Faces | RecordSet, dropped: Sequence[DroppedImage], centers: DominantCenters
) -> list[Path]:
    """Writes `dropped_001.jpg` …, 20 images a page, at most 200: the largest angles first.

    A row shows the image dropped, three of the identity that it was given and three of the one
    that it looks like, each the nearest to their dominant centers.
    """
    for old in out.glob("dropped_[0-9][0-9][0-9].jpg"):
        old.unlink()
    shown = [image for image in dropped if image.looks_like][: _ROWS * _PAGES]
    label_of = {name: label for label, name in enumerate(faces.identities)}
    labels = np.asarray(faces.labels)
    left_out = np.zeros(len(labels), bool)
    left_out[[image.row for image in dropped]] = True
    by_angle = np.argsort(np.where(left_out, np.inf, centers.angles), kind="stable")
    by_angle = by_angle[~left_out[by_angle]]
    written = []
    for page, start in enumerate(range(0, len(shown), _ROWS), start=1):
        rows = []
        for image in shown[start : start + _ROWS]:
            examples = [
                by_angle[labels[by_angle] == label_of[name]][:_LIKENESSES]
                for name in (image.identity, image.looks_like)
            ]
            pictures = [_pictures(faces, np.array([image.row]))]
            pictures += [_padded(_pictures(faces, rows_)) for rows_ in examples]
            name = f"{image.identity}: {image.angle:.0f}°"
            note = f"{image.looks_like}: {image.looks_like_angle:.0f}°"
            rows.append((name, note, [tile for group in pictures for tile in group]))
        title = "Dropped · three of the person it is called · three of the person it looks like"
        path = out / f"dropped_{page:03d}.jpg"
        with replacing(path) as temporary:
            contact_sheet(rows, title, 1 + 2 * _LIKENESSES).save(temporary, quality=88)
        written.append(path)
    return written


def _pictures(faces: Faces | RecordSet, rows: np.ndarray) -> list[np.ndarray]:
    if isinstance(faces, Faces):
        return list(faces.images[rows])
    images, read, _ = faces.decode(rows)
    return list(images[read])


def _padded(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """White where an identity has fewer."""
    white = np.full((1, 1, 3), 255, np.uint8)
    return pictures + [white] * (_LIKENESSES - len(pictures))
