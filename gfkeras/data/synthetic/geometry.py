"""Curves, the relief and pose of a head, and the alignment to ArcFace's five points."""

from functools import lru_cache

import numpy as np

from gfkeras.data.alignment.align import ARCFACE_TEMPLATE
from gfkeras.data.synthetic.canvas import MIDLINE
from gfkeras.data.synthetic.identity import Identity, Variation

# ArcFace's template for a 112x112 image: eyes, nose tip, mouth corners (x, y).
TEMPLATE = ARCFACE_TEMPLATE.astype(np.float32)
PIVOT_Y = 66.0  # The head turns about the point (0, PIVOT_Y, 0) of the face coordinates.

_ANGLES = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1).astype(np.float32)


@lru_cache(maxsize=64)
def _spline_basis(count: int, samples: int, closed: bool) -> np.ndarray:
    """Returns Catmull-Rom weights (segments * samples, count) for `count` control points."""
    segments = count if closed else count - 1
    t = np.linspace(0.0, 1.0, samples, endpoint=False)
    weights = 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], 1
    )
    basis = np.zeros((segments * samples + (not closed), count), np.float32)
    for segment in range(segments):
        rows = slice(segment * samples, (segment + 1) * samples)
        for column, offset in enumerate((-1, 0, 1, 2)):
            index = segment + offset
            index = index % count if closed else min(max(index, 0), count - 1)
            basis[rows, index] += weights[:, column]
    if not closed:
        basis[-1, -1] = 1.0
    return basis


def curve(*points: object, samples: int = 6, closed: bool = False) -> np.ndarray:
    """Returns a smooth curve (M, 2) through the control points (x, y)."""
    control = np.asarray(points, np.float32)
    return _spline_basis(len(control), samples, closed) @ control


def outline(*points: object, samples: int = 6) -> np.ndarray:
    """Returns a closed curve: a right half, from top to bottom, and its mirror image at x = 0."""
    right = np.asarray(points, np.float32)
    left = right[::-1] * np.array((-1.0, 1.0), np.float32)
    # A point on the midline is its own mirror image and must not occur twice.
    inner = slice(int(right[-1, 0] == 0), len(left) - int(right[0, 0] == 0))
    return curve(*right, *left[inner], samples=samples, closed=True)


def ellipse(x: float, y: float, width: float, height: float, angle: float = 0.0) -> np.ndarray:
    """Returns the outline (24, 2) of an ellipse with half axes `width` and `height`."""
    cosine, sine = np.cos(angle), np.sin(angle)
    along, across = _CIRCLE[:, 0] * width, _CIRCLE[:, 1] * height
    return np.stack([x + along * cosine - across * sine, y + along * sine + across * cosine], 1)


def head_depth(person: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the depth towards the viewer in template pixels, smooth enough for inversion."""
    head = 44.0 * np.exp(-0.5 * ((x / 35.0) ** 2 + ((y - PIVOT_Y) / 50.0) ** 2))
    nose_y = person.nose_y - 5.0
    nose = np.exp(-0.5 * ((x / 5.5) ** 2 + ((y - nose_y) / 8.0) ** 2))
    return (head + 8.5 * person.nose_height * nose).astype(np.float32)


def rotation(yaw: float, pitch: float) -> np.ndarray:
    """Returns the rotation (3, 3) of the head: x to the right, y down, z towards the viewer."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    about_x = np.array([(1, 0, 0), (0, cp, -sp), (0, sp, cp)])
    return (about_x @ about_y).astype(np.float32)


def landmarks(person: Identity, variation: Variation) -> np.ndarray:
    """Returns the five points (5, 2) of the unturned face, in face coordinates."""
    width, lift = mouth_shape(person, variation)
    eyes, mouth_y = (person.eye_spacing, person.eye_y), person.mouth_y - lift
    points = [(-eyes[0], eyes[1]), eyes, (0.0, person.nose_y), (-width, mouth_y), (width, mouth_y)]
    return np.array(points, np.float32)


def mouth_shape(person: Identity, variation: Variation) -> tuple[float, float]:
    """Returns the half width of the mouth and the height by which its corners are lifted."""
    width = person.mouth_width * (1 + 0.16 * variation.smile - 0.10 * variation.mouth_open)
    return width, person.mouth_curve + 2.6 * variation.smile - 0.6 * variation.mouth_open


def alignment(source: np.ndarray, target: np.ndarray = TEMPLATE) -> tuple[complex, complex]:
    """Returns the least-squares similarity (Umeyama) as complex numbers.

    The result means target = factor * source + offset.
    """
    a = source[:, 0] + 1j * source[:, 1]
    b = target[:, 0] + 1j * target[:, 1]
    centred = a - a.mean()
    factor = np.vdot(centred, b - b.mean()) / np.vdot(centred, centred).real
    return complex(factor), complex(b.mean() - factor * a.mean())


def picture_to_face(
    person: Identity, variation: Variation, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Maps a coarse grid over the image to positions on the unturned face.

    The five points of the turned head are aligned to the template by a similarity transform, as in
    a face pipeline, and the small detector error of the variation is added. Returns x and y, each
    (steps, steps), in face coordinates. The orthographic projection X = A (x, y) + b z(x, y) is
    inverted by fixed-point iteration.
    """
    turn = rotation(variation.yaw, variation.pitch)
    points = landmarks(person, variation)
    depth = head_depth(person, points[:, 0], points[:, 1])
    projected = (points - (0, PIVOT_Y)) @ turn[:2, :2].T + depth[:, None] * turn[:2, 2]
    factor, offset = alignment(projected)
    jitter = variation.scale * np.exp(1j * variation.roll)
    centre = MIDLINE + 1j * 72.0
    factor *= jitter
    offset = (offset - centre) * jitter + centre + complex(*variation.shift)

    axis = np.linspace(0.0, 112.0, steps, dtype=np.float32)
    wanted = ((axis[None, :] + 1j * axis[:, None]) - offset) / factor
    inverse = np.linalg.inv(turn[:2, :2])
    goal = np.stack([wanted.real, wanted.imag], -1).astype(np.float32)
    # Start at a typical depth. Four rounds are enough, because the depth varies slowly.
    z = np.full(goal.shape[:2], 30.0, np.float32)
    for _ in range(4):
        place = (goal - z[..., None] * turn[:2, 2]) @ inverse.T
        z = head_depth(person, place[..., 0], place[..., 1] + PIVOT_Y)
    place = (goal - z[..., None] * turn[:2, 2]) @ inverse.T
    return place[..., 0], place[..., 1] + PIVOT_Y
