"""Pictures of an inversion's course: a row for each image, from noise to the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _MARGIN, _NAMES = 6, 14, 170
_INK, _FAINT = (32, 33, 36), (95, 99, 104)


def course(
    rows: Sequence[tuple[str, str, Sequence[np.ndarray]]], steps: Sequence[int]
) -> Image.Image:
    """One page.

    Args:
        rows: (name, a line below it, the image after each of `steps`, (S, S, 3) uint8).
        steps: headings of the columns.

    Raises:
        ValueError: if there is no row.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one image. Received: none")
    size = rows[0][2][0].shape[0]
    top = _MARGIN + 22
    page = Image.new(
        "RGB",
        (2 * _MARGIN + _NAMES + len(steps) * (size + _GAP), top + len(rows) * (size + _GAP) + 8),
        "white",
    )
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(13)
    for column, step in enumerate(steps):
        x = _MARGIN + _NAMES + column * (size + _GAP)
        heading = f"{step:,} steps" if column else "noise"
        draw.text((x, _MARGIN), heading, _FAINT, font)
    for row, (name, line, images) in enumerate(rows):
        y = top + row * (size + _GAP)
        draw.text((_MARGIN, y + size // 2 - 18), name.replace("_", " ")[:24], _INK, font)
        draw.text((_MARGIN, y + size // 2), line, _FAINT, font)
        for column, pixels in enumerate(images):
            page.paste(Image.fromarray(pixels), (_MARGIN + _NAMES + column * (size + _GAP), y))
    return page
