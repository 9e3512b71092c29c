"""Contact sheets: some images of some people on one page."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gfkeras.data.photos import read_photo
from gfkeras.data.records import RecordSet
from gfkeras.data.sources import Item, Source
from gfkeras.errors import ImageError
from gfkeras.safe_text import printable

_TILE, _GAP, _MARGIN, _NAMES = 112, 6, 16, 210
_INK, _FAINT = (32, 33, 36), (95, 99, 104)

Rows = list[tuple[str, int, list[np.ndarray]]]
COLUMNS = 8


def contact_sheet(
    rows: Sequence[tuple[str, int | str, Sequence[np.ndarray]]],
    title: str,
    columns: int = 8,
    headings: Sequence[str] = (),
) -> Image.Image:
    """Draws one row for each person: the name, the number of images, and some of the images.

    A row is (name, number of images or a text, images (H, W, 3) uint8), of which at most `columns`
    are drawn below `headings`. Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("`rows` must contain at least one person. Received: none")
    step = _TILE + _GAP
    top = _MARGIN + 34
    left = _MARGIN + _NAMES
    width, height = left + columns * step - _GAP + _MARGIN, top + len(rows) * step - _GAP + _MARGIN
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(18), ImageFont.load_default(13)
    draw.text((_MARGIN, _MARGIN - 4), printable(title), _INK, large)
    for column, heading in enumerate(headings):
        heading = _shortened(draw, heading, small, _TILE)
        draw.text((left + column * step, top - 18), heading, _FAINT, small)
    for row, (name, count, images) in enumerate(rows):
        y = top + row * step
        shown = _shortened(draw, name.replace("_", " "), small, _NAMES - 12)
        draw.text((_MARGIN, y + _TILE // 2 - 18), shown, _INK, small)
        note = (
            f"{count:,} {'image' if count == 1 else 'images'}" if isinstance(count, int) else count
        )
        note = _shortened(draw, note.replace("_", " "), small, _NAMES - 12)
        draw.text((_MARGIN, y + _TILE // 2), note, _FAINT, small)
        for column, pixels in enumerate(images[:columns]):
            tile = Image.fromarray(pixels)
            tile.thumbnail((_TILE, _TILE))
            page.paste(tile, (left + column * step, y))
    return page


def _shortened(draw: ImageDraw.ImageDraw, text: str, font: Any, width: int) -> str:
    text = printable(text)
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"


def drawn_from_records(records: RecordSet, people: int, seed: int) -> Rows:
    """Returns rows with some randomly drawn people of the records and some of their images."""
    labels = np.asarray(records.labels)
    rng = np.random.default_rng(seed)
    present, counts = np.unique(labels, return_counts=True)
    rows: Rows = []
    for label in present[_drawn(counts, people, rng)]:
        numbers = np.flatnonzero(labels == label)
        chosen = np.sort(rng.permutation(numbers)[:COLUMNS])
        images, read, _ = records.decode(chosen)
        name = records.identities[label] if label >= 0 else "(no name)"
        rows.append((name, len(numbers), list(images[read])))
    return rows


def drawn_from_source(source: Source, people: int, seed: int) -> Rows:
    """Returns such rows for any source. It lists the source twice, but stores only the names."""
    items = (item for item in source.items() if isinstance(item, Item))
    counts = Counter(item.identity or "(no name)" for item in items)
    names = list(counts)
    rng = np.random.default_rng(seed)
    sizes = np.array(list(counts.values()), np.int64)
    chosen = [names[index] for index in _drawn(sizes, people, rng)]
    # Draw the numbers of a person's images in advance, because the images stream by only once.
    wanted = {name: set(rng.permutation(counts[name])[:COLUMNS].tolist()) for name in chosen}
    images: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
    seen: Counter[str] = Counter()
    for item in source.items():
        if not isinstance(item, Item) or (name := item.identity or "(no name)") not in wanted:
            continue
        if seen[name] in wanted[name]:
            # Unreadable images are listed in the statistics instead.
            with contextlib.suppress(ImageError):
                images[name].append(read_photo(source.read(item.locator)))
        seen[name] += 1
    return [(name, counts[name], images[name]) for name in chosen]


def _drawn(counts: np.ndarray, people: int, rng: np.random.Generator) -> np.ndarray:
    """Draws positions of people, with probabilities proportional to their numbers of images.

    In most data sets, most people have a single image. Uniform draws would show mainly those.
    """
    if not len(counts):
        return np.zeros(0, np.int64)
    size = min(people, len(counts))
    return np.sort(rng.choice(len(counts), size, replace=False, p=counts / counts.sum()))
