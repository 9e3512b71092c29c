"""Results of an ablation, with tables in Markdown and CSV."""

from __future__ import annotations

import csv
import io
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gfkeras.evaluation.thresholds import rests_on_enough
from gfkeras.experiments.ablation.row import Row
from gfkeras.safe_text import csv_cell

_NONE = "–"
# The result of a score that is the accuracy on CFP's frontal-profile pairs.
CFP = "cfp_fp"


@dataclass(frozen=True)
class Statistic:
    """The mean of a result over `count` seeds, and its spread.

    `spread` is the sample standard deviation (n − 1). It is None for one seed.
    """

    mean: float
    spread: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistic:
        """Returns the statistic of one or more values."""
        spread = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), spread, len(values))

    @property
    def standard_error(self) -> float | None:
        """The standard error of the mean, spread / √n. None for one seed."""
        return None if self.spread is None else self.spread / math.sqrt(self.count)

    @property
    def with_error(self) -> tuple[float, float | None]:
        """The mean and its standard error."""
        return self.mean, self.standard_error

    @property
    def is_none(self) -> bool:
        """Whether the mean is less than two standard errors from 0. False for one seed."""
        error = self.standard_error
        return error is not None and abs(self.mean) < 2 * error

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "spread": self.spread, "seeds": self.count}


@dataclass(frozen=True)
class RowResult:
    """A row with the scores of its seeds.

    Attributes:
        row: the recipe and the scoring.
        training: the hash of the training. Rows with the same hash share it.
        scores: by seed: the results of `run.measure`, and under "training" those of `Run.training`.
    """

    row: Row
    training: str
    scores: dict[int, dict[str, Any]]

    def statistic(self, figure: str) -> Statistic | None:
        """Returns the statistic of a result such as "tar_at_far.1e-2". None if no seed has it."""
        values = list(self.values(figure).values())
        return Statistic.of(values) if values else None

    def values(self, figure: str) -> dict[int, float]:
        """Returns a result by seed. Seeds without it are left out."""
        found: dict[int, float] = {}
        for seed, score in self.scores.items():
            value: Any = score
            for part in figure.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if value is not None:
                found[seed] = float(value)
        return found

    def cost(self, figure: str) -> int | None:
        """Returns "macs" or "parameters", which no seed changes. None before the first score."""
        return next((int(score[figure]) for score in self.scores.values()), None)


@dataclass(frozen=True)
class AblationResult:
    """All rows of a grid, in its order, as far as they are finished.

    Attributes:
        reference: name of the row that differences refer to.
        failures: (row, seed, reason) of trainings that ended with an error.
        trained: number of trainings that this call ran or resumed.
    """

    title: str
    reference: str
    rows: list[RowResult]
    failures: list[tuple[str, int, str]]
    trained: int = 0

    def difference(self, result: RowResult, figure: str = "accuracy") -> Statistic | None:
        """Returns the difference of a row to the reference, taken seed by seed.

        A seed fixes the order of the data and the initial weights, so their common effect cancels
        out. Returns None if the rows share no seed.
        """
        reference = next(each for each in self.rows if each.row.name == self.reference)
        if reference is result:
            return None
        ours, theirs = result.values(figure), reference.values(figure)
        seeds = [seed for seed in ours if seed in theirs]
        return Statistic.of([ours[seed] - theirs[seed] for seed in seeds]) if seeds else None

    def fars(self) -> list[str]:
        """Returns the FARs up to 1e-2 at which every score has a TAR."""
        tars = [score["tar_at_far"] for row in self.rows for score in row.scores.values()]
        # Larger FARs say little about a system for faces.
        names = [name for name in (tars[0] if tars else ()) if float(name) <= 1e-2]
        return [name for name in names if all(tar.get(name) is not None for tar in tars)]

    @property
    def low_far(self) -> str | None:
        """The smallest FAR in `fars` with ten expected false accepts, or None."""
        every = [score for row in self.rows for score in row.scores.values()]
        # Scores of older versions do not have the number of impostor pairs.
        pairs = min((score.get("impostor", score["pairs"] // 2) for score in every), default=0)
        enough = [far for far in self.fars() if rests_on_enough(float(far), pairs)]
        return min(enough, key=float, default=None)

    def compared(self) -> dict[str, str]:
        """Returns the results that show differences, and their headings.

        Accuracy says little about all pairs of a set, so TAR at the smallest FAR is beside it.
        """
        figures = {"accuracy": "accuracy %"}
        if self.low_far is not None:
            figures[f"tar_at_far.{self.low_far}"] = f"TAR@FAR={self.low_far} %"
        if any(CFP in score for row in self.rows for score in row.scores.values()):
            figures[CFP] = "CFP-FP %"
        return figures

    def to_json(self) -> dict[str, Any]:
        """Returns everything, rates from 0 to 1, for `json.dump`."""
        tars = [f"tar_at_far.{far}" for far in self.fars()]
        compared = self.compared()
        figures = list(dict.fromkeys([*compared, "auc", "eer", "groups_used", *tars]))
        rows = []
        for result in self.rows:
            row, summary = result.row, {name: result.statistic(name) for name in figures}
            differences = {name: self.difference(result, name) for name in compared}
            found = {
                "number": row.number,
                "name": row.name,
                "section": row.section,
                "training": result.training,
                "scoring": row.scoring.to_json(),
                "macs": result.cost("macs"),
                "parameters": result.cost("parameters"),
                "summary": {name: each and each.to_json() for name, each in summary.items()},
                "differences": {n: each and each.to_json() for n, each in differences.items()},
                "seeds": {str(seed): score for seed, score in result.scores.items()},
            }
            rows.append(found)
        return {
            "title": self.title,
            "reference": self.reference,
            "rows": rows,
            "failures": [list(failure) for failure in self.failures],
        }


def headings(result: AblationResult) -> list[str]:
    """Returns the column headings for `cells`."""
    names = []
    for figure, heading in _columns(result).items():
        names.append(heading)
        if figure in result.compared():
            names.append(f"to {result.reference}")
    return ["", *names, "AUC %", "groups used", "GFLOPs", "M parameters", "seeds"]


def cells(result: AblationResult, row: RowResult) -> list[str]:
    """Returns a row as text: mean ± standard deviation, and the difference ± standard error."""
    macs, parameters = row.cost("macs"), row.cost("parameters")
    rates = []
    for figure in _columns(result):
        rates.append(_rate(row.statistic(figure)))
        if figure in result.compared():
            rates.append(_difference(result.difference(row, figure)))
    return [
        row.row.name,
        *rates,
        _rate(row.statistic("auc")),
        _spread(row.statistic("groups_used"), 1, 1),
        _NONE if macs is None else f"{2 * macs / 1e9:.3g}",
        _NONE if parameters is None else f"{parameters / 1e6:.3g}",
        str(len(row.scores)),
    ]


def _columns(result: AblationResult) -> dict[str, str]:
    """Returns the results that have a column, and their headings."""
    tars = {f"tar_at_far.{far}": f"TAR@FAR={far} %" for far in result.fars()}
    compared = result.compared()
    return {"accuracy": compared["accuracy"], **tars, **compared}


def markdown(result: AblationResult) -> str:
    """Returns the table in Markdown, with a separate part for each section."""
    names = headings(result)
    lines = [f"# {result.title}"]
    # `groupby` joins neighbours only, so the rows keep the order of the grid.
    for section, rows in itertools.groupby(result.rows, key=lambda each: each.row.section):
        lines += [""] if not section else ["", f"**{section}**", ""]
        lines += [_line(names), _line(["---"] * len(names))]
        lines += [_line(cells(result, row)) for row in rows]
    lines += [
        "",
        "Mean ± standard deviation over seeds. Differences are taken seed by seed, ± their "
        "standard error. A difference below two standard errors counts as none. GFLOPs are 2×MACs "
        "of one image. Parameters are those of the network without its classifier.",
    ]
    lines += [f"\n{name}, seed {seed}, failed: {why}" for name, seed, why in result.failures]
    return "\n".join(lines) + "\n"


def csv_text(result: AblationResult) -> str:
    """Returns the table as CSV: rates from 0 to 1, spreads in separate columns."""
    tars = [f"tar_at_far.{far}" for far in result.fars()]
    compared = result.compared()
    figures = list(dict.fromkeys([*compared, "auc", "eer", *tars, "groups_used"]))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["number", "section", "row", "training", "seeds", "macs", "flops", "parameters"]
        + [f"{name}{end}" for name in figures for end in ("", "_std")]
        + [f"{name}_difference{end}" for name in compared for end in ("", "_standard_error")]
    )
    for row in result.rows:
        macs = row.cost("macs")
        differences = [result.difference(row, name) for name in compared]
        writer.writerow(
            [row.row.number, *map(csv_cell, (row.row.section, row.row.name, row.training))]
            + [len(row.scores)]
            + [macs, None if macs is None else 2 * macs, row.cost("parameters")]
            + [value for name in figures for value in _pair(row.statistic(name))]
            + [v for d in differences for v in ((None, None) if d is None else d.with_error)]
        )
    return file.getvalue()


def _pair(statistic: Statistic | None) -> tuple[float | None, float | None]:
    return (None, None) if statistic is None else (statistic.mean, statistic.spread)


def _rate(statistic: Statistic | None) -> str:
    return _spread(statistic, 100, 2)


def _spread(statistic: Statistic | None, factor: float, digits: int) -> str:
    if statistic is None:
        return _NONE
    spread = "" if statistic.spread is None else f" ± {factor * statistic.spread:.{digits}f}"
    return f"{factor * statistic.mean:.{digits}f}{spread}"


def _difference(statistic: Statistic | None) -> str:
    if statistic is None:
        return _NONE
    error = statistic.standard_error
    found = f"{100 * statistic.mean:+.2f}" + ("" if error is None else f" ± {100 * error:.2f}")
    return f"none ({found})" if statistic.is_none else found


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
