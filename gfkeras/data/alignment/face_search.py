"""Face search at several scales and in four orientations."""

from collections.abc import Callable

import cv2
import numpy as np

from gfkeras.data.alignment.align import align_face, face_template

# The function that runs YuNet. It takes an (H, W, 3) uint8 RGB image and returns rows of box
# (x, y, width, height), five landmarks (x, y) and score, in pixels of that image.
Find = Callable[[np.ndarray], np.ndarray]

# YuNet finds nothing in smaller images, so a smaller photo is scaled up to this many pixels.
_MIN_SIDE = 96
# A photo below this size is enlarged to it. It shows a face cut out closely, and at 100 pixels its
# landmarks are poor: with such crops, 10 of 30 people were found again at FAR 1e-3, and 17 after
# enlarging.
_SMALL_PHOTO = 200
# Upright faces of LFW score 0.88 to 0.95, and the same photos at right angles at most 0.90. If the
# score is lower, the photo may have been turned.
_SURE = 0.91
# A face with this many pixels and this score counts even if it scores less than `_SURE`: a
# profile, for instance. A finer scale would not show it better.
_CLEAR_PIXELS, _CLEAR_SCORE = 48, 0.7
# Least score at finer scales and in turned photos. These searches cover many pixels, and texture
# can score up to 0.7.
_FINE_SCORE = 0.75
# A face found at the first scale is replaced only if a later scale scores this much higher. The
# published aligned data sets were made at the first scale.
_BETTER = 0.03
# Limits at finer scales: pixels of the scaled photo, side of a tile, and overlap of two tiles.
_MOST_PIXELS, _TILE, _OVERLAP = 16_000_000, 1280, 160
# Smaller faces are searched again, enlarged to this many pixels, to get better landmarks. At most
# 64 faces of a photo are refined, which bounds the time.
_REFINED_PIXELS, _REFINED_FACES = 80, 64
# YuNet draws the landmarks of a tilted face too upright: at a tilt of 10, 20 and 30 degrees, its
# line of the eyes is tilted by 3, 8 and 13. So a face that seems tilted by more than `_TILTED`
# degrees is turned back by `_GAIN` times what it seems, and searched again, until it seems tilted
# by less than `_LEVEL`. 5 % of LFW's faces seem tilted by more than four degrees. The others keep
# the published alignment.
_TILTED, _LEVEL, _GAIN, _TURNS = 4.0, 2.0, 2.0, 5
# Side of the part that is turned, and of the face in it, in pixels.
_PART, _FACE = 224, 100
# The score that a face may lose by turning. It gains in most cases.
_LOSS = 0.1
# Least overlap (intersection over union) of the box of an enlarged face with its first box.
_SAME_FACE = 0.4
# If this part of the smaller box is inside the larger one, both boxes show the same face.
_WITHIN = 0.7


def search_faces(
    photo: np.ndarray,
    find: Find,
    side: int,
    overlap: float = 0.3,
    smallest: float = 0,
    thorough: bool = False,
) -> tuple[np.ndarray, int]:
    """Finds the faces of a photo, (H, W, 3) uint8 RGB.

    The photo is scaled to `side` first, its longer side in pixels. If that does not show a face
    beyond doubt, the search continues at half the size, with a border (for a face that fills the
    photo), and with the photo turned by 90, 180 and 270 degrees. It then continues in tiles at
    finer scales, up to 16 million pixels, and with `thorough` also if a face was found. The
    orientation with the surest face counts. Small faces are enlarged and searched again, which
    gives better landmarks.

    Boxes that overlap by more than `overlap` (intersection over union) are one face. Returns (N,
    15) float32 rows in the photo's pixels, and the degrees by which the photo must be turned
    clockwise to be upright.
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
        # This runs even if a face was found: a face that seemed upright at one scale can turn out
        # to be upside down at another.
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
        # The photo is turned, and all its faces are small.
        for view in turned:
            view.look(fine[0], _FINE_SCORE)
        best = max(turned, key=lambda view: view.best)
    best.drop_doubtful()
    best.refine()
    return best.in_photo(), -90 * best.turns % 360


def _finer_scales(shape: tuple[int, ...], first: float, smallest: float) -> list[float]:
    """Returns the scales after the first one. Each is twice the scale before it."""
    longest, pixels = max(shape[:2]), shape[0] * shape[1]
    # A small photo is enlarged up to two times. A large one keeps to the limit of pixels.
    finest = max(1.0, min(2.0, _TILE / longest))
    finest = min(finest, (_MOST_PIXELS / pixels) ** 0.5, 20 / max(smallest, 1e-6))
    scales = []
    while first * 1.2 < finest:
        first = min(first * 2, finest)
        scales.append(first)
    return scales


class _View:
    """A photo turned counterclockwise by right angles, with the faces found in it so far.

    The array `rows` has the columns of `Find`, in pixels of the turned photo, and a last column
    with the scale at which each face was found.
    """

    def __init__(self, photo: np.ndarray, find: Find, overlap: float, turns: int = 0):
        # `rot90` returns a view. A copy of a large photo would take 200 MB.
        self.original, self.photo = photo, np.rot90(photo, turns)
        self.find, self.overlap, self.turns = find, overlap, turns
        self.rows = np.zeros((0, 16), np.float32)

    @property
    def best(self) -> float:
        """The score of the surest face, or 0 without a face."""
        return float(self.rows[:, 14].max(initial=0))

    @property
    def sure(self) -> bool:
        """Whether a face was found that another orientation cannot show better."""
        return self.best >= _SURE

    @property
    def settled(self) -> bool:
        """Whether a face was found that a finer scale cannot show better."""
        clear = self.rows[:, 2] * self.rows[:, 15] >= _CLEAR_PIXELS
        return self.sure or bool((clear & (self.rows[:, 14] >= _CLEAR_SCORE)).any())

    def look_for_large(self, first: float, least: float = 0) -> None:
        """Searches for a face that fills the photo or is cut off at its edges."""
        scale = max(first / 2, _MIN_SIDE / max(self.photo.shape[:2]))
        if scale < first:
            self.look(scale, least)
        self.look(scale, least, border=round(scale * max(self.photo.shape[:2]) / 3))

    def look(self, scale: float, least: float = 0, border: int = 0) -> None:
        """Searches at one scale and keeps faces that score at least `least`."""
        height, width = self.photo.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # Scale first and turn afterwards: turning a view of the full photo would copy it.
        image = _resized(self.original, size if self.turns % 2 == 0 else size[::-1])
        image = np.ascontiguousarray(np.rot90(image, self.turns))
        if border:
            image = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
        found = self._in_tiles(image)
        found[:, :2] -= border
        found[:, 4:14] -= border
        # Pixel centres are at whole numbers at every scale, so points shift by (ratio − 1) / 2.
        # Columns 2 and 3 are a width and a height and do not shift.
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
        """Adds rows. If several show the same face, keeps the surest."""
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
        """Drops doubtful faces of the first scale if a later one showed a face beyond doubt."""
        if len(set(self.rows[:, 15].tolist())) > 1 and self.best >= _SURE - 0.06:
            self.rows = self.rows[self.rows[:, 14] >= _FINE_SCORE]

    def refine(self) -> None:
        """Looks for the landmarks of small and of tilted faces again."""
        small = np.flatnonzero(self.rows[:, 2] * self.rows[:, 15] < _CLEAR_PIXELS)
        for number in small[:_REFINED_FACES]:
            again = self._enlarged(self.rows[number])
            if again is not None:
                self.rows[number, :14] = again[:14]
        for row in self.rows[:_REFINED_FACES]:
            row[4:14] = self._levelled(row)

    def _levelled(self, row: np.ndarray) -> np.ndarray:
        """Returns the landmarks of a face, found again with the face turned level if it tilts."""
        landmarks = row[4:14]
        seems = _tilt(landmarks)
        side = max(float(row[2]), float(row[3]))
        if abs(seems) <= _TILTED or not side > 1:
            return landmarks
        centre, middle = row[:2] + row[2:4] / 2, (_PART - 1) / 2
        template = face_template(_PART) - middle
        tilt, least = 0.0, abs(seems)
        for _ in range(_TURNS):
            tilt += _GAIN * seems
            cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
            to_photo = np.array([[cos, sin], [-sin, cos]]) * side / _FACE
            # The part is an alignment whose landmarks are the template's, turned around the face.
            part = align_face(self.photo, template @ to_photo + centre, _PART)
            found = self.find(part)
            away = np.abs(found[:, :2] + found[:, 2:4] / 2 - _PART / 2).max(axis=1, initial=0)
            found = found[(away < _FACE / 3) & (found[:, 14] >= row[14] - _LOSS)]
            if not len(found):
                break
            again = found[np.argmax(found[:, 14]), 4:14]
            seems = _tilt(again)
            if abs(seems) < least:
                least = abs(seems)
                landmarks = ((again.reshape(5, 2) - middle) @ to_photo + centre).ravel()
            if least <= _LEVEL:
                break
        return landmarks

    def _enlarged(self, row: np.ndarray) -> np.ndarray | None:
        """Returns the row of a face found again in an enlarged part, or None if it is not found."""
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
        """Returns the rows, without scales, in pixels of the photo as it was given."""
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
        """Returns points (…, 2) of the turned photo in the coordinates of the original one."""
        height, width = self.photo.shape[:2]
        x, y = points[..., 0], points[..., 1]
        if self.turns == 1:
            return np.stack([height - 1 - y, x], axis=-1)
        if self.turns == 2:
            return np.stack([width - 1 - x, height - 1 - y], axis=-1)
        return np.stack([y, width - 1 - x], axis=-1)


def _tilt(landmarks: np.ndarray) -> float:
    """Returns the tilt of a face in degrees, clockwise, by its eyes and its mouth."""
    points = landmarks.reshape(5, 2)
    lines = np.array([points[1] - points[0], points[4] - points[3]], np.float64)
    x, y = (lines / np.maximum(np.linalg.norm(lines, axis=1, keepdims=True), 1e-6)).sum(axis=0)
    return float(np.degrees(np.arctan2(y, x)))


def _starts(length: int) -> list[int]:
    """Returns the starts of overlapping tiles that cover a length."""
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
    """Returns the areas of the intersections, of each pair's smaller box, and of the unions."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:4], boxes[:, :2] + boxes[:, 2:4])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    own, areas = box[2] * box[3], boxes[:, 2] * boxes[:, 3]
    return shared, np.minimum(own, areas), own + areas - shared
