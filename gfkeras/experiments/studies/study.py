"""A pairs protocol measured again and again while one thing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gfkeras.evaluation import PairsResult
from gfkeras.evaluation.metrics import FARS, far_name

# Of FaceNet's tables.
FACENET_FAR = 1e-3

# The two series of "dimension": the first numbers of an embedding; those along the principal
# directions of other faces.
FIRST, PRINCIPAL = "first", "principal"
AXES = {
    "jpeg": "JPEG quality",
    "size": "Image side in pixels",
    "dimension": "Dimensions",
    "bits": "Bits a number",
}


@dataclass(frozen=True, eq=False)
class StudyPoint:
    """One measurement.

    Attributes:
        series: which way, where there are several; else the study's name.
        value: what was changed to.
        result: what the pairs protocol gave.
    """

    series: str
    value: int
    result: PairsResult


@dataclass(frozen=True, eq=False)
class Study:
    """What came of it.

    Attributes:
        name: "jpeg", "size", "dimension" or "bits".
        reference: the same pairs with nothing changed.
        points: by series and value.
    """

    name: str
    reference: PairsResult
    points: list[StudyPoint]

    @property
    def axis(self) -> str:
        """What the values are."""
        return AXES[self.name]

    @property
    def far(self) -> str:
        """The FAR to look at; see `readable_far`."""
        return readable_far(self.reference)

    def series(self) -> dict[str, list[StudyPoint]]:
        """The points by their series, values ascending."""
        found: dict[str, list[StudyPoint]] = {}
        for point in sorted(self.points, key=lambda point: point.value):
            found.setdefault(point.series, []).append(point)
        return found

    def to_json(self) -> dict[str, Any]:
        """The figures of each point, for `json.dump`."""
        kept = (
            "accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "intervals", "pairs", "skipped",
        )  # fmt: skip
        return {
            "name": self.name,
            "axis": self.axis,
            "points": [
                {"series": point.series, "value": point.value}
                | {key: value for key, value in point.result.to_json().items() if key in kept}
                for points in self.series().values()
                for point in points
            ],
        }


def readable_far(result: PairsResult) -> str:
    """FaceNet's FAR, 1e-3, or the smallest above it that so many pairs can measure."""
    measured = [name for name, tar in result.tar_at_far.items() if tar is not None]
    if not measured:
        return far_name(max(FARS))
    return min(measured, key=lambda name: (float(name) < FACENET_FAR, float(name)))
