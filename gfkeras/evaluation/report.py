"""Report of a run as one HTML file: results, curves, faces and exports.

The file needs no other files and no network. Writing it needs the extra `plots` (matplotlib and
Jinja).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy.typing as npt

from gfkeras.errors import require
from gfkeras.evaluation import plots
from gfkeras.evaluation.metrics import effective_groups
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.files import write_text
from gfkeras.safe_text import printable

# In inches. Two plots share a row, or one fills a phone's width, and text must stay readable.
_CHART = (5.6, 3.6)


@dataclass(frozen=True, eq=False)
class FacePair:
    """Two faces (H, W, 3), 0..255, and the similarity that the model gave them.

    `same` is true if they show one person. `caption` is a short text below, such as two names.
    """

    first: npt.ArrayLike
    second: npt.ArrayLike
    score: float
    same: bool
    caption: str = ""


@dataclass(frozen=True)
class ExportRow:
    """One artefact, and how far its embeddings are from those of the Keras model.

    Args:
        name: format and variant, such as "TFLite fp16, hard".
        size_bytes: size of the file, or of all files of a folder.
        max_abs_error: largest difference between L2-normalised embeddings.
        min_cosine: smallest cosine between the two embeddings of an image.
        passed, tolerance: whether it is within a tolerance such as "max_abs_error at most 0.0001".
        images: number of images compared.
        file: file name without the folder. May be empty.
    """

    name: str
    size_bytes: int
    max_abs_error: float
    min_cosine: float
    passed: bool
    tolerance: str
    images: int
    file: str = ""


@dataclass(frozen=True, eq=False)
class ReportContext:
    """Everything that a report shows. An empty field leaves its section out.

    Args:
        title, lead: heading of the page, and one or two sentences below it.
        command: the command line that was run.
        created, seconds: the date as text, and the duration of the run.
        results: name → result, all on the same pairs. The page is about the first.
        baseline: name of the result to compare the first with, usually the untrained network.
        settings: label → text: data, identities, network, recipe.
        versions: package → version.
        group_counts: (K,) number of held-out faces in each group.
        training_log: one mapping of logs for each epoch, as in log.csv.
        faces: (image, caption) of sample faces. Faces of one person must be neighbours.
        genuine: sample genuine pairs.
        hardest: the pairs with the worst scores, from `PairsResult.hardest`.
        exports: one row for each artefact.
        notes: further sentences about the limits of the numbers.
    """

    title: str
    command: str
    created: str
    results: Mapping[str, PairsResult]
    baseline: str | None = None
    lead: str = ""
    seconds: float | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    group_counts: npt.ArrayLike | None = None
    training_log: Sequence[Mapping[str, Any]] = ()
    faces: Sequence[tuple[npt.ArrayLike, str]] = ()
    genuine: Sequence[FacePair] = ()
    hardest: Sequence[FacePair] = ()
    exports: Sequence[ExportRow] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("`results` must hold at least one result. Received: no results")
        if self.baseline is not None and self.baseline not in list(self.results)[1:]:
            raise ValueError(
                "`baseline` must be the name of a result after the first, "
                f"{list(self.results)[1:]}. Received: baseline={self.baseline!r}"
            )


def write_report(path: str | os.PathLike[str], context: ReportContext) -> Path:
    """Writes the report as one HTML file, whole or not at all, and returns its path.

    All text from the context is escaped. Raises ImportError, with the extra to install, if
    matplotlib or Jinja is missing.

    Example:
        result = evaluate_pairs(embedder.embed_files, pairs)
        context = ReportContext("Faces", "gfkeras demo", "today", {"Trained": result})
        write_report("report.html", context)
    """
    path = Path(path)
    write_text(path, render_report(context))
    return path


def render_report(context: ReportContext) -> str:
    """Returns the report as text. See `write_report`."""
    jinja2 = require("jinja2", "plots")
    template = resources.files("gfkeras.evaluation") / "templates" / "report.html.j2"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        # A control character in a name must not reverse the text around it. SVGs stay as they are.
        finalize=lambda value: (
            printable(str(value))
            if isinstance(value, (str, Path)) and not hasattr(value, "__html__")
            else value
        ),
    )  # fmt: skip
    environment.filters.update(
        percent=lambda value, digits=2: f"{value:.{digits}%}",
        bytes=format_bytes,
        duration=format_duration,
        data_uri=plots.image_data_uri,
    )
    name, main = next(iter(context.results.items()))
    baseline = None if context.baseline is None else context.results[context.baseline]
    fars = [
        far for far in main.tar_at_far
        if any(result.tar_at_far.get(far) is not None for result in context.results.values())
    ]  # fmt: skip
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        context=context,
        name=name,
        main=main,
        baseline=baseline,
        tiles=_tiles(context, main, baseline, fars),
        fars=fars,
        people=[
            (caption, [image for image, _ in faces])
            for caption, faces in itertools.groupby(context.faces, key=lambda face: face[1])
        ],
        majority=max(main.genuine, main.impostor) / main.pairs,
        charts=[(title, jinja2.utils.markupsafe.Markup(svg)) for title, svg in _charts(context)],
    )


def _tiles(
    context: ReportContext, main: PairsResult, baseline: PairsResult | None, fars: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Returns (label, value, comparison with the baseline) of the tiles below the headline."""

    def row(label: str, pick: Any, form: str) -> tuple[str, str, str]:
        if baseline is None:
            return label, format(pick(main), form), ""
        before = pick(baseline)
        other = "not measured" if before is None else format(before, form)
        return label, format(pick(main), form), f"{context.baseline}: {other}"

    tiles = [
        row("Balanced accuracy", lambda r: r.balanced_accuracy, ".2%"),
        row("Area under the ROC", lambda r: r.auc, ".4f"),
        row("Equal error rate", lambda r: r.eer, ".2%"),
    ]
    measured = [far for far in fars if main.tar_at_far[far] is not None]
    if measured:
        # Take the second smallest: the smallest FAR depends on only a few impostor pairs.
        far = measured[max(0, len(measured) - 2)]
        tiles.append(row(f"TAR at FAR {far}", lambda r: r.tar_at_far.get(far), ".2%"))
    if context.group_counts is not None:
        groups = len(list(context.group_counts))  # type: ignore[arg-type]
        effective = f"{effective_groups(context.group_counts):.1f}"
        tiles.append(("Effective groups", effective, f"of {groups}"))
    return tiles


def _charts(context: ReportContext) -> list[tuple[str, str]]:
    name, main = next(iter(context.results.items()))
    figures = [
        ("ROC", plots.roc_figure(context.results)),
        (f"Scores, {name}", plots.score_histogram(main)),
    ]
    if context.group_counts is not None:
        chart = plots.group_usage_chart(context.group_counts, "Groups of the held-out faces")
        # The page shows the title as a heading, so remove it from the plot itself.
        title = chart.axes[0].get_title(loc="left")
        chart.axes[0].set_title("", loc="left")
        figures.append((title, chart))
    if context.training_log:
        figures.append(("Training", plots.training_curves(context.training_log)))
    charts = []
    for title, figure in figures:
        figure.set_size_inches(*_CHART)
        charts.append((title, plots.figure_svg(figure, title)))
    return charts


def format_bytes(size: float) -> str:
    """Returns a size in words: "4.39 MiB" for 4,600,000."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def format_duration(seconds: float) -> str:
    """Returns a duration in words: "3 min 5 s" for 185."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
