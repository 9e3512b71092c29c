"""What an Embedder asks of a runtime, and checks all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np


class Runtime(Protocol):
    """Runs one model.

    Attributes:
        image_size: height and width of the images it takes.
        batch_size: the batch it is fixed to, or None for any.
        compiles: whether every new size of batch is compiled first.
        good_batch: how many images at once are fast: on a processor few, whose activations stay
            in its cache.
    """

    image_size: int
    batch_size: int | None
    compiles: bool
    good_batch: int

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """From (B, H, W, 3) float32, 0…255, to arrays by output name."""
        ...


def unreadable(path: Path, what: str, error: BaseException | str) -> ValueError:
    """The error for an artefact that is truncated, garbage or not what its name says."""
    lines = str(error).strip().splitlines()
    reason = lines[0][:300] if lines else type(error).__name__
    return ValueError(f"{path} cannot be read as {what}; it is damaged or not one: {reason}")


def image_input(shape: Sequence[int | str | None] | None, origin: str) -> tuple[int, int | None]:
    """(image size, fixed batch or None) from a model's input shape.

    Raises:
        ValueError: unless the shape is (B, H, H, 3).
    """
    dimensions = [d if isinstance(d, int) and d > 0 else None for d in shape or ()]
    if len(dimensions) != 4 or dimensions[3] != 3 or dimensions[1] != dimensions[2]:
        raise ValueError(
            f"{origin} must take images of shape (B, H, H, 3). Received: an input of shape "
            f"{tuple(shape or ())}"
        )
    if dimensions[1] is None:
        raise ValueError(f"{origin} must take images of a fixed height and width.")
    return dimensions[1], dimensions[0]


def named_outputs(names: Sequence[str], origin: str) -> list[str]:
    """The names under which outputs are returned: a single one is the embedding.

    Raises:
        ValueError: if there are several and none is called "embedding".
    """
    if len(names) == 1:
        return ["embedding"]
    if "embedding" not in names:
        raise ValueError(
            f"{origin} must have one output, or one called 'embedding'. Received: {sorted(names)}"
        )
    return list(names)
