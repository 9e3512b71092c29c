"""Thresholds of a model by FAR, with their origin."""

from __future__ import annotations

import numbers
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfkeras.evaluation.intervals import Interval, share_interval
from gfkeras.evaluation.metrics import FARS, Roc, far_name, operating_points
from gfkeras.evaluation.similarity import COSINE, Similarity
from gfkeras.files import parsed_json, settings_text, write_json

_VERSION = 1
# The fewest false accepts to expect at a FAR. With fewer, a FAR is unreliable: by chance there may
# be half as many false accepts, or twice as many.
MIN_FALSE_ACCEPTS = 10
# More than all pairs of nine billion people.
MOST_PAIRS = 10**20
# The smallest FAR that is chosen if the user names none.
USUAL_FAR = 1e-3


def check_threshold(value: Any, similarity: Similarity = COSINE, name: str = "threshold") -> float:
    """Returns a threshold that a similarity can reach, as a float.

    The range is −1 to 1 for the cosine. The group-aware similarity can also be below −1. Raises
    ValueError, with the argument's name, for other values.
    """
    # Float32 cosines of equal faces can be slightly above 1.
    low, rounding = similarity.least, 1e-6
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not low - rounding <= value <= 1 + rounding:
        raise ValueError(
            f"`{name}` must be a finite number from {low:.4g} to 1. Received: {name}={value!r}"
        )
    return float(value)


def check_far(value: Any, name: str = "far") -> float:
    """Returns a false accept rate above 0 and at most 1. Raises ValueError for other values."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < value <= 1:
        raise ValueError(
            f"`{name}` must be a rate above 0 and at most 1, such as 1e-3. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def rests_on_enough(far: float, impostor: int) -> bool:
    """Returns whether ten or more false accepts are expected among `impostor` pairs."""
    # Tolerate rounding: 1e-3 of 10,000 pairs are 10, even if the product of the floats is less.
    return far * impostor >= MIN_FALSE_ACCEPTS * (1 - 1e-9)


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of one model by FAR: for one false accept in a thousand use 0.31.

    Attributes:
        similarity: the similarity that is compared with a threshold.
        at_far: thresholds keyed "1e-3". Two faces show one person if their similarity is at least
            the threshold.
        impostor: number of impostor pairs that the thresholds were measured on.
        origin: where they come from, such as "pairs.txt, 3,000 impostor pairs, 2026-11-27".
        model: fingerprint of the model (`Embedder.fingerprint`). Empty if unknown.
    """

    similarity: Similarity
    at_far: dict[str, float]
    impostor: int
    origin: str
    model: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.impostor, bool) or not isinstance(self.impostor, int):
            raise ValueError(f"`impostor` must be an integer. Received: {self.impostor!r}")
        # Larger numbers could overflow in later arithmetic.
        if not 1 <= self.impostor <= MOST_PAIRS or not self.at_far:
            raise ValueError(
                f"`at_far` must contain a threshold, and `impostor` be from 1 to {MOST_PAIRS:.0e} "
                f"pairs. Received: {len(self.at_far)} thresholds of {self.impostor} pairs"
            )
        for far, threshold in self.at_far.items():
            # Keys have one form only: nobody would find "0.001" when looking up "1e-3".
            if far_name(check_far(float(far), "at_far")) != far:
                raise ValueError(
                    f"`at_far` must use the key {far_name(float(far))!r}. Received: {far!r}"
                )
            check_threshold(threshold, self.similarity, f"at_far[{far!r}]")

    @classmethod
    def from_curve(
        cls,
        curve: Roc,
        similarity: Similarity,
        origin: str,
        model: str = "",
        fars: Sequence[float] = FARS,
        force: bool = False,
    ) -> Thresholds:
        """Returns thresholds at those `fars` for which at least ten false accepts are expected.

        With `force`, one expected false accept is enough. Raises ValueError if no FAR is left.
        """
        points = operating_points(curve, fars)
        at_far = {
            far_name(far): point[1]
            for far, point in zip(fars, points.values(), strict=True)
            if point is not None and (force or rests_on_enough(far, curve.impostor))
        }
        if not at_far:
            expected = 1 if force else MIN_FALSE_ACCEPTS
            hint = "" if force else " With `force` (--force), one expected pair is enough."
            raise ValueError(
                f"`fars` must reach {expected} / {curve.impostor:,} impostor pairs = "
                f"{expected / curve.impostor:.1e}. A threshold needs at least {expected} impostor "
                f"pairs that are expected to be accepted.{hint} "
                f"Received: {', '.join(map(far_name, fars))}"
            )
        return cls(similarity, at_far, curve.impostor, origin, model)

    def at(self, far: float, force: bool = False) -> float:
        """Returns the threshold at a FAR.

        Raises ValueError for a FAR without a threshold, and lists the available FARs. Also raises
        ValueError for a FAR at which fewer than ten false accepts are expected, unless `force`.
        """
        name = far_name(check_far(far))
        if name not in self.at_far:
            raise ValueError(
                f"`far` must be one of {', '.join(self.at_far)} ({self.origin}). "
                f"Received: far={name}"
            )
        if not force and not rests_on_enough(far, self.impostor):
            raise ValueError(
                f"`far` must be larger: its threshold rests on {self.impostor:,} impostor pairs, "
                f"of which {far * self.impostor:.3g} are expected to be accepted, fewer than "
                f"{MIN_FALSE_ACCEPTS} ({self.origin}). Use it anyway with `force` (--force). "
                f"Received: far={name}"
            )
        return self.at_far[name]

    def offered(self, force: bool = False) -> list[float]:
        """Returns the FARs that `at` accepts, rising. Raises ValueError if there are none."""
        fars = sorted(map(float, self.at_far))
        offered = [far for far in fars if force or rests_on_enough(far, self.impostor)]
        if not offered:
            # Raise the error of `at`, which gives the reason.
            self.at(fars[-1])
        return offered

    def usual_far(self, force: bool = False) -> float:
        """Returns the FAR for users who name none: the smallest offered FAR of at least 1e-3.

        If all of them are below 1e-3, it is the largest.
        """
        offered = self.offered(force)
        return min((far for far in offered if far >= USUAL_FAR), default=offered[-1])

    def interval(self, far: float) -> Interval:
        """Returns a 95 % interval of a threshold's FAR, as if impostor pairs were independent."""
        return share_interval(far, self.impostor)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the thresholds as JSON, whole or not at all."""
        write_json(path, self.to_json())
        return Path(path)

    def to_json(self) -> dict[str, Any]:
        """Returns the thresholds for JSON, as `save` and an artefact's card hold them."""
        return {"version": _VERSION, **asdict(self)}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Thresholds:
        """Reads a file that `save` wrote. Raises ValueError if it is missing or not valid."""
        try:
            content = parsed_json(settings_text(path))
        except (OSError, ValueError) as error:
            raise _not_thresholds(os.fspath(path), error) from error
        return cls.from_json(content, os.fspath(path))

    @classmethod
    def from_json(cls, content: Any, name: str) -> Thresholds:
        """Returns the thresholds from `to_json`. Raises ValueError with `name` if not valid."""
        try:
            if content["version"] != _VERSION:
                raise ValueError(f"version {content['version']!r}, expected {_VERSION}")
            at_far = {str(far): value for far, value in content["at_far"].items()}
            similarity, impostor = Similarity(**content["similarity"]), content["impostor"]
            return cls(similarity, at_far, impostor, str(content["origin"]), str(content["model"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _not_thresholds(name, error) from error


def _not_thresholds(name: str, error: Exception) -> ValueError:
    return ValueError(
        f"{name} must be thresholds as `gfkeras evaluate --thresholds` writes them. "
        f"Received: {type(error).__name__}: {error}"
    )


def beside(model: str | os.PathLike[str]) -> Path:
    """Returns the default path of a model's thresholds.

    It is `thresholds.json` in a model folder. Next to an artefact, it is the artefact's name with
    `.thresholds.json` added.
    """
    path = Path(model)
    if (path / "config.json").is_file():
        return path / "thresholds.json"
    return path.with_name(f"{path.name}.thresholds.json")


def one_in(far: float) -> str:
    """Returns a FAR in words: "1 in 1,000,000" for 1e-6."""
    return f"1 in {round(1 / far):,}"


def threshold_rows(
    curve: Roc, fars: Sequence[float] = FARS
) -> list[tuple[str, float | None, float | None]]:
    """Returns (false accepts allowed in words, threshold, TAR) for each FAR.

    Threshold and TAR are None if there are too few impostor pairs for the FAR.
    """
    points = operating_points(curve, fars).values()
    return [
        (one_in(far), point and point[1], point and point[0])
        for far, point in zip(fars, points, strict=True)
    ]
