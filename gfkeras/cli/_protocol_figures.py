"""The pictures of a protocol's results, drawn when they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfkeras.evaluation import Roc


def curve_figures(title: str, curve: Roc) -> dict[str, Callable[[], Any]]:
    from gfkeras.evaluation import plots

    return {
        "roc": lambda: plots.roc_figure({title: curve}),
        "det": lambda: plots.det_figure({title: curve}),
        "scores": lambda: plots.score_histogram(curve),
        "thresholds": lambda: plots.threshold_table(curve),
    }


def identification_figures(result: Any) -> dict[str, Callable[[], Any]]:
    from gfkeras.evaluation import plots
    from gfkeras.evaluation.identification import identification_errors

    named = {f"Gallery {n}": found for n, found in enumerate(result.galleries, start=1)}
    figures: dict[str, Callable[[], Any]] = {
        "cmc": lambda: plots.cmc_figure({name: found.cmc for name, found in named.items()})
    }
    if all(found.non_mated for found in named.values()):
        figures["identification_errors"] = lambda: plots.identification_error_figure(
            {
                name: identification_errors(found.scores, found.max_rank)[:2]
                for name, found in named.items()
            }
        )
    return figures
