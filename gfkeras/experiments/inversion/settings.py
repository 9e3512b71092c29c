"""What an inversion can be told."""

from __future__ import annotations

import dataclasses
import math

from gfkeras.errors import in_range, positive, positive_int


@dataclasses.dataclass(frozen=True)
class InversionSettings:
    """How images are optimised; the weights are the paper's where it states one.

    Attributes:
        steps: of Adam, over all resolutions.
        learning_rate: of Adam, in units of the image's −1…1; falls to 0 by half a cosine within
            each resolution.
        finer_rate: what the learning rate is multiplied by at each finer resolution. Adam's first
            steps move every pixel by the full rate, whatever its gradient; of small pixels that is
            noise, from which a network with large activations does not come back.
        identity_weight: of the identity's term; None for 1 with class centers (the ArcFace
            loss) and `TEMPLATE_WEIGHT` with templates (a squared distance of at most 4).
        statistics_weight: of Σ ‖μ̃ − μ‖² + ‖σ̃ − σ‖² over the batch normalisations.
        least_values: batch normalisations that get fewer values of a channel in a batch do not
            count: those after the last feature map, in batches of fewer images.
        variation_weight: of the total variation.
        norm_weight: of ‖x‖².
        coarse: the image is first optimised at its size over each of these in turn, an equal part
            of the steps each, and enlarged between; (1,) starts at full size.
        shift: the network sees the image moved by up to so many pixels, drawn in each step.
        mirror: and mirrored in every other step.

    Raises:
        ValueError: for a value out of range.
    """

    steps: int = 500
    learning_rate: float = 0.25
    finer_rate: float = 0.25
    identity_weight: float | None = None
    statistics_weight: float = 0.05
    least_values: int = 64
    variation_weight: float = 1e-3
    norm_weight: float = 1e-4
    coarse: tuple[int, ...] = (4, 2, 1)
    shift: float = 3.0
    mirror: bool = True

    def __post_init__(self) -> None:
        positive_int("steps", self.steps)
        positive_int("least_values", self.least_values)
        positive("learning_rate", self.learning_rate)
        positive("finer_rate", self.finer_rate)
        if self.identity_weight is not None:
            positive("identity_weight", self.identity_weight)
        for name in ("statistics_weight", "variation_weight", "norm_weight"):
            in_range(name, getattr(self, name), 0, math.inf)
        in_range("shift", self.shift, 0, 57, " pixels")
        if not self.coarse or self.coarse[-1] != 1 or any(part < 1 for part in self.coarse):
            raise ValueError(
                "`coarse` must be divisors of the image's size that end with 1, such as (4, 2, 1). "
                f"Received: coarse={self.coarse}"
            )

    def spans(self) -> list[tuple[int, int, float]]:
        """(divisor, steps, learning rate) of each resolution; the steps sum to `steps`."""
        count = len(self.coarse)
        # What does not divide goes to the last ones, where the picture is finished.
        shares = [(self.steps * (i + 1)) // count - (self.steps * i) // count for i in range(count)]
        rates = [self.learning_rate * self.finer_rate**i for i in range(count)]
        return [span for span in zip(self.coarse, shares, rates, strict=True) if span[1]]
