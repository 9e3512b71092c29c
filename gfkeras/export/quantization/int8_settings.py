"""What an int8 export leaves to choose."""

from __future__ import annotations

from dataclasses import dataclass

from gfkeras.errors import one_of
from gfkeras.export.quantization.qat_settings import QatSettings

ENDS = ("float32", "int8")


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """How a model becomes int8.

    Attributes:
        inputs, outputs: "float32" or "int8" at the model's ends.
        integer_only: no float in between, for processors that have none: PReLU as the maximum
            of two products.
        max_latency_ratio: of int8 to float, one image on one thread here. The layers that int8
            costs most stay float, as many as fit; none by default.
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
