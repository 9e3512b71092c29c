"""Settings of int8 exports and of quantization-aware fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gfkeras.errors import one_of, positive, positive_int

ENDS = ("float32", "int8")


@dataclass(frozen=True, slots=True)
class QatSettings:
    """Settings of quantization-aware fine-tuning.

    Attributes:
        epochs: passes over the calibration faces.
        learning_rate: of LAMB at first; it falls to zero along a cosine. LAMB steps by a fraction
            of each kernel's size, so that one rate fits equalised layers.
        callbacks: of `keras.Model.fit`, such as one that shows progress.
    """

    epochs: int = 4
    learning_rate: float = 2e-5
    callbacks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        positive_int("epochs", self.epochs)
        positive("learning_rate", self.learning_rate)


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """Settings of an int8 export.

    Attributes:
        inputs, outputs: "float32" or "int8" at the model's ends.
        integer_only: no float in between, for processors that have none: PReLU as the maximum of
            two products.
        max_latency_ratio: of int8 to float, one image on one thread. The layers that int8 costs
            most stay float, as many as fit; none by default.
        qat: how the network is fine-tuned in int8; not at all by default.
    """

    inputs: str = "float32"
    outputs: str = "float32"
    integer_only: bool = False
    max_latency_ratio: float | None = None
    qat: QatSettings | None = None

    def __post_init__(self) -> None:
        one_of("inputs", self.inputs, ENDS)
        one_of("outputs", self.outputs, ENDS)
        ratio = self.max_latency_ratio
        if ratio is not None and not ratio > 0:
            raise ValueError(f"`max_latency_ratio` must be positive. Received: {ratio}")
        if self.integer_only and ratio is not None:
            raise ValueError(
                "`max_latency_ratio` leaves layers float, which `integer_only` forbids. "
                f"Received: integer_only=True, max_latency_ratio={ratio}"
            )
