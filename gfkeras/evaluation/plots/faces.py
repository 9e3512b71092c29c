"""Plots of faces."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.plots.style import INK, WIDTH, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def face_grid(
    images: npt.ArrayLike, titles: Sequence[str] | None = None, columns: int = 8
) -> Figure:
    """Draws images (N, H, W, 3), 0..255, in rows of `columns`, each with its title below."""
    pictures = as_uint8(images)
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(
            f"`titles` must have one text for each of {len(pictures)} images. "
            f"Received: {len(titles)}"
        )
    columns = max(1, min(columns, len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    cell = WIDTH / columns
    figure = new_figure(rows * cell * (1.2 if titles else 1.0))
    for i, picture in enumerate(pictures):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(picture)
        axes.set_axis_off()
        if titles is not None:
            style = {"ha": "center", "va": "top", "fontsize": 9, "color": INK}
            axes.text(0.5, -0.04, plain(titles[i]), transform=axes.transAxes, **style)
    return figure


def as_uint8(images: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Returns images (N, H, W, 3), 0..255, as uint8, rounding floats.

    Raises ValueError for another shape.
    """
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[-1] != 3 or not len(array):
        raise ValueError(f"`images` must be (N, H, W, 3), N above 0. Received: {array.shape}")
    if array.dtype == np.uint8:
        return array
    return np.clip(np.rint(array), 0, 255).astype(np.uint8)


def image_data_uri(image: npt.ArrayLike) -> str:
    """Returns an image (H, W, 3), 0..255, as a JPEG inside a `data:` address."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(as_uint8(np.asarray(image)[None])[0]).save(stream, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
