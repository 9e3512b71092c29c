"""Pictures of a data set on one page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_TILE, _GAP, _MARGIN, _NAMES = 112, 6, 16, 210
_INK, _FAINT = (32, 33, 36), (95, 99, 104)


def contact_sheet(
    rows: Sequence[tuple[str, int | str, Sequence[np.ndarray]]], title: str, columns: int = 8
) -> Image.Image:
    """A row for each person: the name, how many images there are, and some of them.

    Args:
        rows: (name, number of images or what to say in its place, some of the images, (H, W, 3)
            uint8).
        title: stands above.
        columns: images in a row at most.

    Raises:
        ValueError: if `rows` is empty.
    """
    if not rows:
        raise ValueError("`rows` must hold at least one person. Received: none")
    step = _TILE + _GAP
    top = _MARGIN + 34
    page = Image.new(
        "RGB",
        (2 * _MARGIN + _NAMES + columns * step - _GAP, top + len(rows) * step - _GAP + _MARGIN),
        "white",
    )
    draw = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(18), ImageFont.load_default(13)
    draw.text((_MARGIN, _MARGIN - 4), title, _INK, large)
    for row, (name, count, images) in enumerate(rows):
        y = top + row * step
        shown = _shortened(draw, name.replace("_", " "), small, _NAMES - 12)
        draw.text((_MARGIN, y + _TILE // 2 - 18), shown, _INK, small)
        note = (
            count if isinstance(count, str) else f"{count:,} {'image' if count == 1 else 'images'}"
        )
        note = _shortened(draw, note.replace("_", " "), small, _NAMES - 12)
        draw.text((_MARGIN, y + _TILE // 2), note, _FAINT, small)
        for column, pixels in enumerate(images[:columns]):
            tile = Image.fromarray(pixels)
            tile.thumbnail((_TILE, _TILE))
            page.paste(tile, (_MARGIN + _NAMES + column * step, y))
    return page


def _shortened(
    draw: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
