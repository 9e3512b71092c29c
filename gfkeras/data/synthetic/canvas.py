"""An RGBA canvas in face coordinates, drawn with anti-aliased OpenCV primitives."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_SHIFT = 4  # OpenCV reads coordinates as fixed point with this many fractional bits.
_FAINT = 0.03  # Strokes fainter than this are left out.
MARGIN = 12.0  # Pixels of the template that the canvas keeps around the 112x112 image.
SPAN = 112.0 + 2 * MARGIN
MIDLINE = 56.0


class Canvas:
    """Premultiplied RGBA uint8 pixels, addressed in face coordinates.

    Face coordinates are pixels of the 112x112 template, with x measured from the midline. `scale`
    is the number of canvas pixels per template pixel. Colours are RGB 0..255.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        side = round(SPAN * scale)
        self.pixels = np.zeros((side, side, 4), np.uint8)

    def _to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Converts face coordinates (..., 2) to canvas pixel coordinates (..., 2)."""
        offset = np.array((MIDLINE + MARGIN, MARGIN), np.float32)
        return (np.asarray(points, np.float32) + offset) * self.scale - 0.5

    def _fixed(
        self, lines: Sequence[np.ndarray], corner: tuple[int, int] = (0, 0)
    ) -> list[np.ndarray]:
        """Converts lines to the fixed-point pixel coordinates that OpenCV needs."""
        # Lines of equal length are converted together, which is faster.
        groups = [np.stack(lines)] if len({len(line) for line in lines}) == 1 else lines
        fixed = [
            np.rint((self._to_pixels(group) - corner) * (1 << _SHIFT)).astype(np.int32)
            for group in groups
        ]
        return list(fixed[0]) if fixed[0].ndim == 3 else fixed

    def fill(self, points: np.ndarray, colour: np.ndarray) -> None:
        """Fills the polygon `points` (N, 2) with an opaque colour."""
        cv2.fillPoly(self.pixels, self._fixed([points]), _rgba(colour), cv2.LINE_AA, _SHIFT)

    def lines(self, lines: Sequence[np.ndarray], colour: np.ndarray, width: float) -> None:
        """Draws opaque open polylines, each (N, 2), `width` template pixels wide."""
        thickness = max(1, round(width * self.scale))
        fixed = self._fixed(lines)
        cv2.polylines(self.pixels, fixed, False, _rgba(colour), thickness, cv2.LINE_AA, _SHIFT)

    def soft_fill(
        self,
        shapes: np.ndarray | Sequence[np.ndarray],
        colour: np.ndarray,
        opacity: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Blends polygons whose edges are blurred by `blur` template pixels (one sigma)."""
        if opacity >= _FAINT:
            polygons = [shapes] if isinstance(shapes, np.ndarray) else shapes
            view, mask, _ = self._part(polygons, 3.0 * blur + 1.0)
            self._blend(view, mask, colour, opacity, blur)

    def soft_lines(
        self,
        lines: Sequence[np.ndarray],
        colour: np.ndarray,
        width: float,
        opacity: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Blends open polylines with soft edges."""
        if opacity >= _FAINT:
            thickness = max(1, round(width * self.scale))
            view, mask, _ = self._part(lines, 3.0 * blur + width + 1.0, thickness)
            # A line thinner than one pixel is drawn one pixel wide and fainter.
            opacity *= min(1.0, width * self.scale / thickness)
            self._blend(view, mask, colour, opacity, blur)

    def copy(self) -> Canvas:
        """Returns an independent canvas with the same pixels."""
        twin = Canvas.__new__(Canvas)
        twin.scale, twin.pixels = self.scale, self.pixels.copy()
        return twin

    def paste(self, polygons: Sequence[np.ndarray], other: Canvas) -> None:
        """Copies the pixels of another canvas that are inside the polygons."""
        view, mask, (x, y) = self._part(polygons, 1.0)
        source = other.pixels[y : y + view.shape[0], x : x + view.shape[1]]
        _mix(view, source, mask * np.float32(1.0 / 255.0))

    def _part(
        self, lines: Sequence[np.ndarray], pad: float, thickness: int = 0
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Returns the pixels around polygons, or around thick lines, their mask and their corner.

        Working on this part only is much faster than on the whole canvas.
        """
        points, extra = self._to_pixels(np.concatenate(list(lines))), pad * self.scale
        side = self.pixels.shape[0]
        low, high = (points.min(0) - extra).tolist(), (points.max(0) + extra + 2.0).tolist()
        left, top = (min(max(int(value), 0), side) for value in low)
        right, bottom = (min(max(int(value), 0), side) for value in high)
        view = self.pixels[top:bottom, left:right]
        mask = np.zeros(view.shape[:2], np.uint8)
        if mask.size:
            fixed = self._fixed(lines, (left, top))
            if thickness:
                cv2.polylines(mask, fixed, False, 255, thickness, cv2.LINE_AA, _SHIFT)
            else:
                cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, _SHIFT)
        return view, mask, (left, top)

    def _blend(
        self, view: np.ndarray, mask: np.ndarray, colour: np.ndarray, opacity: float, blur: float
    ) -> None:
        # A smaller blur would not be wider than the edge that anti-aliasing gives.
        if mask.size and blur * self.scale > 0.5:
            mask = cv2.GaussianBlur(mask, (0, 0), blur * self.scale)
        paint = np.empty(view.shape, np.uint8)
        paint[...] = np.array(_rgba(colour)).astype(np.uint8)
        _mix(view, paint, mask * np.float32(min(opacity, 1.0) / 255.0))


def _mix(view: np.ndarray, paint: np.ndarray, weight: np.ndarray) -> None:
    """Blends `paint` over the pixels of `view`, which is empty outside the canvas."""
    if view.size:
        paint, below = np.ascontiguousarray(paint), np.ascontiguousarray(view)
        view[...] = cv2.blendLinear(paint, below, weight, 1.0 - weight)


def _rgba(colour: np.ndarray) -> tuple[float, float, float, float]:
    red, green, blue = (min(max(value, 0.0), 255.0) for value in colour.tolist())
    return (red, green, blue, 255.0)
