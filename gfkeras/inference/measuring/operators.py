"""The time of each kind of operator in one run of a model."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Operator:
    """One kind of operator.

    Attributes:
        name: as the runtime calls the kernel that ran; XNNPACK, for one, runs a 1×1 convolution as
            "Fully Connected".
        runner: whose kernel: "XNNPACK", "LiteRT" or an ONNX Runtime provider.
        count: how many of them one run calls.
        microseconds: all of them together, the mean over the faster half of the runs.
        share: of the whole of these runs.
    """

    name: str
    runner: str
    count: int
    microseconds: float
    share: float


@dataclass(frozen=True, slots=True)
class Call:
    """One operator in one run: its kernel's name and owner, its place in the file, its time.

    `index` is -1 where the runtime does not say which operator of the file it was.
    """

    name: str
    runner: str
    index: int
    microseconds: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Several runs of one model on one thread.

    Attributes:
        calls: of one run, each with its mean time over the faster half of the runs: unlike medians,
            means of the same runs add up, and the slower half is where other programs ran.
        microseconds: mean of these whole runs.
    """

    calls: tuple[Call, ...]
    microseconds: float

    @classmethod
    def of_runs(cls, runs: Sequence[Sequence[Call]], totals: Sequence[float]) -> Profile:
        """Means over the faster half of runs that all call the same operators in the same order.

        Raises:
            ValueError: if they do not.
        """
        orders = {tuple((call.name, call.runner, call.index) for call in run) for run in runs}
        if len(orders) != 1:
            raise ValueError("the operators differ from run to run")
        fast = sorted(range(len(runs)), key=lambda run: totals[run])[: (len(runs) + 1) // 2]
        calls = tuple(
            replace(
                runs[0][position],
                microseconds=statistics.mean(runs[run][position].microseconds for run in fast),
            )
            for position in range(len(runs[0]))
        )
        return cls(calls, statistics.mean(totals[run] for run in fast))

    def operators(self) -> tuple[Operator, ...]:
        """By kernel, the dearest first."""
        kinds: dict[tuple[str, str], list[float]] = {}
        for call in self.calls:
            kinds.setdefault((call.name, call.runner), []).append(call.microseconds)
        rows = [
            Operator(name, runner, len(times), sum(times), self.share(sum(times)))
            for (name, runner), times in kinds.items()
        ]
        return tuple(sorted(rows, key=lambda row: -row.microseconds))

    def share(self, microseconds: float) -> float:
        """Of the whole run."""
        return microseconds / self.microseconds if self.microseconds else 0.0
