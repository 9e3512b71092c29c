"""The time of each kind of operator in one run of a model."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operator:
    """One kind of operator.

    Attributes:
        name: as the runtime calls the kernel that ran; XNNPACK, for one, runs a 1×1 convolution as
            "Fully Connected".
        runner: whose kernel: "XNNPACK", "LiteRT" or an ONNX Runtime provider.
        count: how many of them one run calls.
        microseconds: all of them together, each its median over the runs.
        share: of the whole run's median.
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
        calls: of one run, each with its median time over the runs.
        microseconds: median of the whole run.
    """

    calls: tuple[Call, ...]
    microseconds: float

    @classmethod
    def of_runs(cls, runs: Sequence[Sequence[Call]], totals: Iterable[float]) -> Profile:
        """Medians over runs that all call the same operators in the same order.

        Raises:
            ValueError: if they do not.
        """
        orders = {tuple((call.name, call.runner, call.index) for call in run) for run in runs}
        if len(orders) != 1:
            raise ValueError("the operators differ from run to run")
        calls = tuple(
            Call(
                same[0].name, same[0].runner, same[0].index,
                statistics.median(call.microseconds for call in same),
            )
            for same in zip(*runs, strict=True)
        )  # fmt: skip
        return cls(calls, statistics.median(totals))

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
