"""Thresholds of a model by FAR, and their origin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfkeras.evaluation.metrics import FARS, Roc, far_name, operating_points
from gfkeras.evaluation.similarity import Similarity
from gfkeras.files import parsed_json, write_json

_VERSION = 1


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

    @classmethod
    def from_curve(
        cls,
        curve: Roc,
        similarity: Similarity,
        origin: str,
        model: str = "",
        fars: Sequence[float] = FARS,
    ) -> Thresholds:
        """The thresholds that a ROC can resolve; ValueError where it can resolve none of `fars`."""
        points = operating_points(curve, fars)
        at_far = {name: point[1] for name, point in points.items() if point is not None}
        if not at_far:
            raise ValueError(
                f"`fars` must reach 1 / impostors, {1 / curve.impostor:.1e}. Received: {fars}"
            )
        return cls(similarity, at_far, curve.impostor, origin, model)

    def at(self, far: float) -> float:
        """The threshold at a FAR; ValueError for one that is not there, listing those that are."""
        name = far_name(far)
        if name not in self.at_far:
            raise ValueError(
                f"`far` must be one of {', '.join(self.at_far)} ({self.origin}). "
                f"Received: far={name}"
            )
        return self.at_far[name]

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
            content = parsed_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _not_thresholds(os.fspath(path), error) from error
        return cls.from_json(content, os.fspath(path))

    @classmethod
    def from_json(cls, content: Any, name: str) -> Thresholds:
        """The thresholds that `to_json` gave; ValueError, calling it `name`, for something else."""
        try:
            if content["version"] != _VERSION:
                raise ValueError(f"version {content['version']!r}, expected {_VERSION}")
            at_far = {str(far): float(value) for far, value in content["at_far"].items()}
            for far in at_far:
                # "0.001" would never be found under the name of 1e-3.
                if far_name(float(far)) != far:
                    raise ValueError(f"a FAR called {far!r}, expected {far_name(float(far))!r}")
            similarity, impostor = Similarity(**content["similarity"]), int(content["impostor"])
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
