"""Thresholds of a model by FAR, and their origin."""

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
from gfkeras.files import parsed_json, read_small, write_json

_VERSION = 1
# False accepts that are expected among the pairs of a FAR: of fewer the FAR says little, since by
# chance there may be half as many or twice as many.
MIN_FALSE_ACCEPTS = 10
MOST_PAIRS = 10**20
# The smallest FAR that is chosen for a user who names none.
USUAL_FAR = 1e-3


def check_threshold(value: Any, similarity: Similarity = COSINE, name: str = "threshold") -> float:
    """Returns a threshold that a similarity can reach; raises ValueError, naming it, otherwise.

    That is −1 to 1 for the cosine; the group-aware similarity may also lie below −1.
    """
    low, rounding = similarity.least, 1e-6
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not low - rounding <= value <= 1 + rounding:
        raise ValueError(
            f"`{name}` must be a finite number from {low:.4g} to 1. Received: {name}={value!r}"
        )
    return float(value)


def check_far(value: Any, name: str = "far") -> float:
    """Returns a false accept rate above 0 and at most 1; raises ValueError otherwise."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < value <= 1:
        raise ValueError(
            f"`{name}` must be a rate above 0 and at most 1, such as 1e-3. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def rests_on_enough(far: float, impostor: int) -> bool:
    """Whether ten false accepts or more are expected among so many impostor pairs."""
    # 1e-3 of 10,000 are 10, whatever the product of two floats is.
    return far * impostor >= MIN_FALSE_ACCEPTS * (1 - 1e-9)


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of one model by FAR: for one false accept in a thousand use 0.31.

    Attributes:
        similarity: what is compared with a threshold.
        at_far: thresholds keyed "1e-3"; two faces are one person's where their similarity is at
            least that.
        impostor: how many impostor pairs they were measured on.
        origin: where they come from, such as "pairs.txt, 3,000 impostor pairs, 2026-11-27".
        model: fingerprint of the model (`Embedder.fingerprint`); empty where unknown.
    """

    similarity: Similarity
    at_far: dict[str, float]
    impostor: int
    origin: str
    model: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.impostor, bool) or not isinstance(self.impostor, int):
            raise ValueError(f"`impostor` must be an integer. Received: {self.impostor!r}")
        # More pairs than nine billion people give is a number that arithmetic may not survive.
        if not 1 <= self.impostor <= MOST_PAIRS or not self.at_far:
            raise ValueError(
                f"`at_far` must hold a threshold, and `impostor` be from 1 to {MOST_PAIRS:.0e} "
                f"pairs. Received: {len(self.at_far)} thresholds of {self.impostor} pairs"
            )
        for far, threshold in self.at_far.items():
            # "0.001" would never be found under the name of 1e-3.
            if far_name(check_far(float(far), "at_far")) != far:
                raise ValueError(f"a FAR called {far!r}, expected {far_name(float(far))!r}")
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
        """The thresholds at those of `fars` at which ten false accepts or more are expected.

        With `force`, at all that the impostor pairs can resolve, where one is. Raises ValueError
        where none is left.
        """
        points = operating_points(curve, fars)
        at_far = {
            far_name(far): point[1]
            for far, point in zip(fars, points.values(), strict=True)
            if point is not None and (force or rests_on_enough(far, curve.impostor))
        }
        if not at_far:
            expected = 1 if force else MIN_FALSE_ACCEPTS
            hint = "" if force else "; `force` (--force) takes those at which one is expected"
            raise ValueError(
                f"`fars` must reach {expected} / {curve.impostor:,} impostor pairs, "
                f"{expected / curve.impostor:.1e}, so that {expected} of them are expected to be "
                f"accepted{hint}. Received: {', '.join(map(far_name, fars))}"
            )
        return cls(similarity, at_far, curve.impostor, origin, model)

    def at(self, far: float, force: bool = False) -> float:
        """The threshold at a FAR.

        Raises ValueError for one that is not there, listing those that are, and for one at which
        fewer than ten false accepts are expected among the pairs, unless with `force`.
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
                f"{MIN_FALSE_ACCEPTS} ({self.origin}). `force` (--force) takes it all the same. "
                f"Received: far={name}"
            )
        return self.at_far[name]

    def offered(self, force: bool = False) -> list[float]:
        """The FARs that `at` gives, rising; ValueError where there is none."""
        fars = sorted(map(float, self.at_far))
        offered = [far for far in fars if force or rests_on_enough(far, self.impostor)]
        if not offered:
            # It says why.
            self.at(fars[-1])
        return offered

    def usual_far(self, force: bool = False) -> float:
        """The FAR for those who name none: the smallest that is offered, but at least 1e-3.

        Where all of them lie below 1e-3 it is the largest.
        """
        offered = self.offered(force)
        return min((far for far in offered if far >= USUAL_FAR), default=offered[-1])

    def interval(self, far: float) -> Interval:
        """95 % interval of the FAR of a threshold, as if its impostor pairs were independent."""
        return share_interval(far, self.impostor)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the thresholds as JSON, whole or not at all."""
        write_json(path, self.to_json())
        return Path(path)

    def to_json(self) -> dict[str, Any]:
        """The thresholds as `save` and an artefact's card hold them."""
        return {"version": _VERSION, **asdict(self)}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Thresholds:
        """Reads a file that `save` wrote; ValueError if it is missing or holds something else."""
        try:
            content = parsed_json(read_small(path).decode("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise _not_thresholds(os.fspath(path), error) from error
        return cls.from_json(content, os.fspath(path))

    @classmethod
    def from_json(cls, content: Any, name: str) -> Thresholds:
        """The thresholds that `to_json` gave; ValueError, calling it `name`, for something else."""
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
    """Where the thresholds of a model lie by default.

    `thresholds.json` in a model folder; beside an artefact, its name with `.thresholds.json`.
    """
    path = Path(model)
    if (path / "config.json").is_file():
        return path / "thresholds.json"
    return path.with_name(f"{path.name}.thresholds.json")


def one_in(far: float) -> str:
    """A FAR in words: 1e-6 is "1 in 1,000,000"."""
    return f"1 in {round(1 / far):,}"


def threshold_rows(
    curve: Roc, fars: Sequence[float] = FARS
) -> list[tuple[str, float | None, float | None]]:
    """(false accepts allowed in words, threshold, TAR) for each FAR; None where the number of
    impostor pairs cannot resolve it."""
    points = operating_points(curve, fars).values()
    return [
        (one_in(far), point and point[1], point and point[0])
        for far, point in zip(fars, points, strict=True)
    ]
