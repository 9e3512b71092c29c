"""The table of an ablation, in Markdown and CSV."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence

from gfkeras.experiments.ablation.result import AblationResult, RowResult, Statistic

_NONE = "–"


def headings(result: AblationResult) -> list[str]:
    """The columns of `cells`."""
    return [
        "",
        "accuracy %",
        f"to {result.reference}",
        *(f"TAR@FAR={far} %" for far in result.fars()),
        "AUC %",
        "groups used",
        "GFLOPs",
        "M parameters",
        "seeds",
    ]


def cells(result: AblationResult, row: RowResult) -> list[str]:
    """A row as text: mean ± standard deviation over seeds; the difference ± its standard error."""
    difference = result.difference(row)
    macs, parameters = row.cost("macs"), row.cost("parameters")
    return [
        row.row.name,
        _rate(row.statistic("accuracy")),
        _difference(difference),
        *(_rate(row.statistic(f"tar_at_far.{far}")) for far in result.fars()),
        _rate(row.statistic("auc")),
        _spread(row.statistic("groups_used"), 1, 1),
        _NONE if macs is None else f"{2 * macs / 1e9:.3g}",
        _NONE if parameters is None else f"{parameters / 1e6:.3g}",
        str(len(row.scores)),
    ]


def markdown(result: AblationResult) -> str:
    """The table, with a part of its own for each section."""
    names = headings(result)
    lines = [f"# {result.title}"]
    for section, rows in itertools.groupby(result.rows, key=lambda each: each.row.section):
        lines += [""] if not section else ["", f"**{section}**", ""]
        lines.append(_line(names))
        lines.append(_line(["---"] * len(names)))
        lines += [_line(cells(result, row)) for row in rows]
    lines += [
        "",
        "Mean ± standard deviation over seeds; the difference seed by seed ± its standard error. "
        "GFLOPs are 2×MACs of one image and parameters those of the network without its "
        "classifier.",
    ]
    lines += [f"\n{name}, seed {seed}, failed: {why}" for name, seed, why in result.failures]
    return "\n".join(lines) + "\n"


def csv_text(result: AblationResult) -> str:
    """One line a row, all rates from 0 to 1, spreads in columns of their own."""
    figures = ["accuracy", "auc", "eer", *(f"tar_at_far.{far}" for far in result.fars())]
    figures.append("groups_used")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["number", "section", "row", "training", "seeds", "macs", "flops", "parameters"]
        + [f"{name}{end}" for name in figures for end in ("", "_std")]
        + ["difference", "difference_standard_error"]
    )
    for row in result.rows:
        statistics = [row.statistic(name) for name in figures]
        difference = result.difference(row)
        macs = row.cost("macs")
        writer.writerow(
            [row.row.number, row.row.section, row.row.name, row.training, len(row.scores)]
            + [macs, None if macs is None else 2 * macs, row.cost("parameters")]
            + [value for each in statistics for value in _pair(each)]
            + ([None, None] if difference is None else [difference.mean, difference.standard_error])
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
    return f"{100 * statistic.mean:+.2f}" + ("" if error is None else f" ± {100 * error:.2f}")


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
