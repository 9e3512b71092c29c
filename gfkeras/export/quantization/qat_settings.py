"""What quantisation-aware fine-tuning leaves to choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gfkeras.errors import positive, positive_int


@dataclass(frozen=True, slots=True)
class QatSettings:
    """How an int8 network learns to embed as its float one does.

    Attributes:
        epochs: passes over the calibration faces.
        learning_rate: of LAMB in the beginning; it falls to nothing along a cosine. LAMB steps by a
            fraction of each kernel's size, so that one rate fits equalised layers.
        callbacks: of `keras.Model.fit`, such as one that shows how far it is.
    """

    epochs: int = 4
    learning_rate: float = 2e-5
    callbacks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        positive_int("epochs", self.epochs)
        positive("learning_rate", self.learning_rate)
