"""Search of a photo for faces: at several scales, and at right angles."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

# From (H, W, 3) uint8 RGB to rows of box (x, y, width, height), five landmarks (x, y) and score,
# in pixels of that image: what YuNet gives.
Find = Callable[[np.ndarray], np.ndarray]

# YuNet finds nothing in fewer pixels.
_MIN_SIDE = 96
# A smaller photo is scaled up to this. What it shows is a face cut out closely, and with 100 pixels
# its landmarks are poor: of 30 people, 10 were found again at FAR 1e-3 by such a cutout, and 17 if
# it was enlarged.
_SMALL_PHOTO = 200
# Upright faces of LFW score 0.88 to 0.95, and the same photos at right angles at most 0.90. So a
# face that scores less may stand in a photo that lies on its side.
_SURE = 0.91
# A face that scores less than `_SURE` is one when it shows this many pixels and scores this much:
# a profile, for instance. No finer scale would show more of it.
_CLEAR_PIXELS, _CLEAR_SCORE = 48, 0.7
# Below this, faces at finer scales and in turned photos are no faces: there is much to search, and
# texture scores up to 0.7.
_FINE_SCORE = 0.75
# A face stays as it was found first unless a later scale shows it so much more surely: the first
# scale is that of the published aligned sets.
_BETTER = 0.03
# A larger photo is searched at so many pixels at most, in parts of so many, which overlap.
_MOST_PIXELS, _TILE, _OVERLAP = 16_000_000, 1280, 160
# Landmarks of a smaller face are looked for again in an enlarged part of the photo, whose face has
# this many pixels; of so many faces at most.
_REFINED_PIXELS, _REFINED_FACES = 80, 64
# The box of a face that is found again overlaps the first one at least so much.
_SAME_FACE = 0.4
# Of a smaller box within a larger one, so much of its area makes them one face.
_WITHIN = 0.7


def search_faces(
    photo: np.ndarray,
    find: Find,
    side: int,
    overlap: float = 0.3,
    smallest: float = 0,
    thorough: bool = False,
) -> tuple[np.ndarray, int]:
    """Finds the faces of a photo.

    The photo is scaled to `side` first. Where that shows no face beyond doubt, it is searched at
    half the size, with a border around it (for a face that fills it), and turned by 90, 180 and 270
    degrees; then in parts at finer scales, up to 16 million pixels. The orientation with the surest
    face counts. Small faces are looked at again, enlarged, for better landmarks.

    Args:
        photo: (H, W, 3) uint8 RGB.
        find: finds faces of about 12 to 600 pixels.
        side: longer side at which the photo is searched first.
        overlap: boxes that overlap more (intersection over union) are one face.
        smallest: smaller faces are of no interest.
        thorough: search at finer scales although a face was found, for smaller ones beside it.

    Returns:
        (N, 15) float32 rows in the photo's pixels, and by how many degrees the photo must be turned
        clockwise to stand upright.
    """
    longest = max(photo.shape[:2])
    first = min(max(longest, _SMALL_PHOTO), max(side, _MIN_SIDE)) / longest
    upright = best = _View(photo, find, overlap)
    upright.look(first)
    turned: list[_View] = []
    if not upright.sure:
        turned = [_View(photo, find, overlap, turns) for turns in (1, 2, 3)]
        for view in turned:
            view.look(first, _FINE_SCORE)
        # Even where this shows an upright face: at some scales one that hangs upside down is sure.
        if not any(view.sure for view in turned):
            upright.look_for_large(first)
            for view in turned:
                view.look_for_large(first, _FINE_SCORE)
        best = max([upright, *turned], key=lambda view: view.best)
    fine = _finer_scales(photo.shape, first, smallest)
    for scale in fine:
        if best.settled and not thorough:
            break
        best.look(scale, _FINE_SCORE)
    if not len(best.rows) and fine:
        # Small faces in a photo that lies on its side.
        for view in turned:
            view.look(fine[0], _FINE_SCORE)
        best = max(turned, key=lambda view: view.best)
    best.drop_doubtful()
    best.refine()
    return best.in_photo(), -90 * best.turns % 360


def _finer_scales(shape: tuple[int, ...], first: float, smallest: float) -> list[float]:
    """Scales after the first one, each twice the one before."""
    longest, pixels = max(shape[:2]), shape[0] * shape[1]
    # A small photo is enlarged; a large one is searched at no more than so many pixels.
    finest = max(1.0, min(2.0, _TILE / longest))
    finest = min(finest, (_MOST_PIXELS / pixels) ** 0.5, 20 / max(smallest, 1e-6))
    scales = []
    while first * 1.2 < finest:
        first = min(first * 2, finest)
        scales.append(first)
    return scales


class _View:
    """A photo, turned counterclockwise by some right angles, and the faces found in it so far.

    `rows` are as of `Find`, in pixels of the turned photo, with the scale that each was found at.
    """

    def __init__(self, photo: np.ndarray, find: Find, overlap: float, turns: int = 0):
        # Turned without a copy: a photo can have 200 MB.
        self.original, self.photo = photo, np.rot90(photo, turns)
        self.find, self.overlap, self.turns = find, overlap, turns
        self.rows = np.zeros((0, 16), np.float32)

    @property
    def best(self) -> float:
        """The score of the surest face; 0 without one."""
        return float(self.rows[:, 14].max(initial=0))

    @property
    def sure(self) -> bool:
        """Whether a face was found that no other orientation can show better."""
        return self.best >= _SURE

    @property
    def settled(self) -> bool:
        """Whether a face was found that no finer scale can show better."""
        clear = self.rows[:, 2] * self.rows[:, 15] >= _CLEAR_PIXELS
        return self.sure or bool((clear & (self.rows[:, 14] >= _CLEAR_SCORE)).any())

    def look_for_large(self, first: float, least: float = 0) -> None:
        """Searches for a face that fills the photo, or is cut at its edges."""
        scale = max(first / 2, _MIN_SIDE / max(self.photo.shape[:2]))
        if scale < first:
            self.look(scale, least)
        self.look(scale, least, border=round(scale * max(self.photo.shape[:2]) / 3))

    def look(self, scale: float, least: float = 0, border: int = 0) -> None:
        """Searches at a scale for faces that score at least `least`."""
        height, width = self.photo.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = _resized(self.original, size if self.turns % 2 == 0 else size[::-1])
        image = np.ascontiguousarray(np.rot90(image, self.turns))
        if border:
            image = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
        found = self._in_tiles(image)
        found[:, :2] -= border
        found[:, 4:14] -= border
        # A pixel's centre is at a whole number, at every scale.
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        points = found[:, :14].reshape(-1, 7, 2)
        points *= ratio
        points[:, [0, 2, 3, 4, 5, 6]] += (ratio - 1) / 2
        kept = np.isfinite(found).all(axis=1) & (found[:, 14] >= least)
        scales = np.full((int(kept.sum()), 1), scale, np.float32)
        self._add(np.concatenate([found[kept], scales], axis=1))

    def _in_tiles(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if height * width <= _TILE * _TILE:
            return self.find(image)
        parts = []
        for top in _starts(height):
            for left in _starts(width):
                found = self.find(image[top : top + _TILE, left : left + _TILE])
                found[:, [0, *range(4, 14, 2)]] += left
                found[:, [1, *range(5, 14, 2)]] += top
                parts.append(found)
        return np.concatenate(parts)

    def _add(self, found: np.ndarray) -> None:
        """Adds rows; of those that show one face the surest stays."""
        rows = np.concatenate([self.rows, found])
        score = rows[:, 14] - _BETTER * (np.arange(len(rows)) >= len(self.rows))
        rows = rows[np.argsort(-score, kind="stable")]
        kept: list[int] = []
        for number, row in enumerate(rows):
            shared, least, union = _shared_areas(row[:4], rows[kept, :4])
            if not ((shared > self.overlap * union) | (shared > _WITHIN * least)).any():
                kept.append(number)
        self.rows = rows[kept]

    def drop_doubtful(self) -> None:
        """Drops what was found before the search went on and showed a face beyond doubt."""
        if len(set(self.rows[:, 15].tolist())) > 1 and self.best >= _SURE - 0.06:
            self.rows = self.rows[self.rows[:, 14] >= _FINE_SCORE]

    def refine(self) -> None:
        """Looks for the landmarks of small faces again, in enlarged parts of the photo."""
        small = np.flatnonzero(self.rows[:, 2] * self.rows[:, 15] < _CLEAR_PIXELS)
        for number in small[:_REFINED_FACES]:
            again = self._enlarged(self.rows[number])
            if again is not None:
                self.rows[number, :14] = again[:14]

    def _enlarged(self, row: np.ndarray) -> np.ndarray | None:
        """The face of a row, found in an enlarged part; None where it is not found again."""
        x, y, width, height = row[:4]
        side = max(width, height)
        scale = min(_REFINED_PIXELS / side, 4.0)
        if not side > 1 or scale < 1.25 * row[15]:
            return None
        left, top = int(x + width / 2 - 1.1 * side), int(y + height / 2 - 1.1 * side)
        right, bottom = left + int(2.2 * side) + 1, top + int(2.2 * side) + 1
        left, top = max(0, left), max(0, top)
        part = self.photo[top:bottom, left:right]
        if min(part.shape[:2]) < 2:
            return None
        view = _View(np.ascontiguousarray(part), self.find, self.overlap)
        view.look(scale, border=_REFINED_PIXELS // 4)
        found = view.rows
        found[:, [0, *range(4, 14, 2)]] += left
        found[:, [1, *range(5, 14, 2)]] += top
        shared, _, union = _shared_areas(row[:4], found[:, :4])
        same = np.flatnonzero(shared > _SAME_FACE * union)
        return found[same[0]] if len(same) else None

    def in_photo(self) -> np.ndarray:
        """The rows, without scales, in pixels of the photo as it came."""
        rows = self.rows[:, :15].copy()
        if not self.turns or not len(rows):
            return rows
        points = rows[:, 4:14].reshape(-1, 5, 2)
        corners = np.stack([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        points, corners = self._turned_back(points), self._turned_back(corners)
        rows[:, :2] = corners.min(axis=1)
        rows[:, 2:4] = corners.max(axis=1) - corners.min(axis=1)
        rows[:, 4:14] = points.reshape(-1, 10)
        return rows

    def _turned_back(self, points: np.ndarray) -> np.ndarray:
        """Points (…, 2) of the turned photo in the one that it was turned from."""
        height, width = self.photo.shape[:2]
        x, y = points[..., 0], points[..., 1]
        if self.turns == 1:
            return np.stack([height - 1 - y, x], axis=-1)
        if self.turns == 2:
            return np.stack([width - 1 - x, height - 1 - y], axis=-1)
        return np.stack([y, width - 1 - x], axis=-1)


def _starts(length: int) -> list[int]:
    """Where parts of a length begin, so that neighbours overlap and all is covered."""
    if length <= _TILE:
        return [0]
    count = -(-(length - _OVERLAP) // (_TILE - _OVERLAP))
    return [round(number * (length - _TILE) / (count - 1)) for number in range(count)]


def _resized(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if size == (photo.shape[1], photo.shape[0]):
        return photo
    way = cv2.INTER_AREA if size[0] < photo.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(photo, size, interpolation=way)


def _shared_areas(box: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areas of the intersections, of the smaller box of each pair, and of the unions."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:4], boxes[:, :2] + boxes[:, 2:4])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    own, areas = box[2] * box[3], boxes[:, 2] * boxes[:, 3]
    return shared, np.minimum(own, areas), own + areas - shared
