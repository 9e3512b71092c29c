"""Drawings of results into photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gfkeras.safe_text import printable

# Colours of Okabe and Ito, which people with any form of colour blindness can distinguish.
SAME, OTHER, NEUTRAL = (0, 114, 178), (213, 94, 0), (230, 159, 0)
_INK, _MUTED, _WHITE = (28, 37, 48), (91, 102, 115), (255, 255, 255)
_HEIGHT, _GAP, _WIDEST = 420, 16, 1600


@dataclass(frozen=True, eq=False)
class Mark:
    """A face to mark in a photo, by box and (5, 2) points in pixels, with a short text or ""."""

    box: np.ndarray
    landmarks: np.ndarray
    label: str = ""
    color: tuple[int, int, int] = NEUTRAL


def annotated_photo(photo: np.ndarray, marks: Sequence[Mark], longest: int = 1600) -> Image.Image:
    """Draws marks into a photo, (H, W, 3) uint8 RGB, and limits its longer side to `longest`."""
    scale = min(1.0, longest / max(photo.shape[:2]))
    # Small photos are enlarged, because labels would cover most of them.
    scale = max(scale, min(4.0, 640 / max(photo.shape[:2]))) if scale == 1 else scale
    return _marked(photo, marks, scale)


def comparison_picture(
    photos: Sequence[np.ndarray],
    marks: Sequence[Mark | None],
    title: str,
    lines: Sequence[str] = (),
    color: tuple[int, int, int] = NEUTRAL,
) -> Image.Image:
    """Draws two photos side by side, with a verdict and lines of explanation below.

    Photos are (H, W, 3) uint8 RGB. The mark of an aligned face is None. `title` is the verdict.
    """
    pictures = [
        _marked(photo, [] if mark is None else [mark], _HEIGHT / photo.shape[0])
        for photo, mark in zip(photos, marks, strict=True)
    ]
    title, lines = printable(title), [printable(line) for line in lines]
    large, small = ImageFont.load_default(26), ImageFont.load_default(17)
    probe = ImageDraw.Draw(pictures[0])
    texts = [probe.textlength(title, large), *(probe.textlength(line, small) for line in lines)]
    inner = max(sum(p.width for p in pictures) + _GAP, *(int(text) for text in texts), 480)
    inner = min(inner, _WIDEST)
    below = 24 + 40 + 26 * len(lines) + 8
    page = Image.new("RGB", (inner + 2 * _GAP, _HEIGHT + 2 * _GAP + below), _WHITE)
    x = _GAP + (inner - sum(p.width for p in pictures) - _GAP) // 2
    for picture in pictures:
        page.paste(picture, (x, _GAP))
        x += picture.width + _GAP
    draw = ImageDraw.Draw(page)
    y = _HEIGHT + _GAP + 22
    draw.text((_GAP, y), title, color, large)
    for number, line in enumerate(lines):
        draw.text((_GAP, y + 42 + 26 * number), line, _INK if number == 0 else _MUTED, small)
    return page


def _marked(photo: np.ndarray, marks: Sequence[Mark], scale: float) -> Image.Image:
    height, width = photo.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    line = max(2, round(min(size) / 160))
    font = ImageFont.load_default(max(13, round(min(size) / 36)))
    for mark in marks:
        x, y, w, h = (float(value) * scale for value in mark.box)
        draw.rectangle((x, y, x + w, y + h), outline=mark.color, width=line)
        for px, py in np.asarray(mark.landmarks) * scale:
            r = line * 0.9
            draw.ellipse((px - r, py - r, px + r, py + r), fill=mark.color, outline=_WHITE)
        if mark.label:
            label = printable(mark.label)
            left, top, right, bottom = draw.textbbox((0, 0), label, font)
            wide, high = right - left + 10, bottom - top + 10
            # The label is above the box, or inside it at the photo's upper edge.
            at_x = min(max(0.0, x), max(0.0, size[0] - wide))
            at_y = y - high if y >= high else y
            draw.rectangle((at_x, at_y, at_x + wide, at_y + high), fill=mark.color)
            draw.text((at_x + 5 - left, at_y + 5 - top), label, _WHITE, font)
    return picture
