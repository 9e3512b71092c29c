"""What the card of an artefact says beyond what the model itself shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gfkeras.cards import FLOAT_PRECISIONS
from gfkeras.evaluation import Thresholds


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What is known of a model, for `export_model`.

    Attributes:
        thresholds: by FAR, measured on this model in this mode.
        sources: where the weights come from, in what JSON has: preset or folder, licence,
            provenance, training data.
        reference_results: figures measured on the model, not on the artefact.
    """

    thresholds: Thresholds | None = None
    sources: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference_results: Sequence[Mapping[str, Any]] = ()

    def to_json(self, fingerprint: str, precision: str) -> dict[str, Any]:
        """Keys of the card, those alone of which something is known.

        Args:
            fingerprint: of the model that is exported, in the mode that it is exported in.
            precision: of the artefact.

        Raises:
            ValueError: for thresholds of another model or mode.
        """
        card: dict[str, Any] = {}
        if self.thresholds is not None:
            card["thresholds"] = _of(self.thresholds, fingerprint, precision).to_json()
        if self.sources:
            card["sources"] = dict(self.sources)
        if self.reference_results:
            card["reference_results"] = [dict(result) for result in self.reference_results]
        return card


def _of(thresholds: Thresholds, fingerprint: str, precision: str) -> Thresholds:
    if thresholds.model and thresholds.model != fingerprint:
        raise ValueError(
            "`thresholds` must be of the model and mode that are exported. Received: "
            f"{thresholds.origin}, of another one: {thresholds.model[:12]}…, not "
            f"{fingerprint[:12]}…"
        )
    origin = thresholds.origin
    if precision not in FLOAT_PRECISIONS:
        origin += f"; measured on the float model, not in {precision}"
    return dataclasses.replace(thresholds, model=fingerprint, origin=origin)
