"""A measurement of `gfkeras evaluate` as entries of an artefact's card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.cli._command_line import command_line
from gfkeras.cli._output import plain

if TYPE_CHECKING:
    from gfkeras.cli._protocols import Measured, Protocol, Request

# Of a result's JSON; the rest are lists of files and of folds.
_FIGURES = (
    "accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "validation_rate", "rank",
    "fnir_at_fpir", "pairs", "impostor", "skipped",
)  # fmt: skip
# What chooses the data of a protocol, and what a card calls it.
_CHOICES = {
    "data": "data", "pairs": "list", "identities": "identities", "subset": "subset",
    "max_frames": "max_frames", "distractors": "distractors", "refined": "refined",
}  # fmt: skip


def accuracy_entries(
    measured: Measured, running: Protocol, flip: bool, align: bool
) -> list[dict[str, Any]]:
    """One for each result of a protocol, for `gfkeras.inference.artefact_card.record`."""
    used = running.used
    of = {
        **_chosen(running.request),
        "flip": flip,
        "align": align,
        "similarity": {"beta": used.beta, "gamma": used.gamma, "distance": used.distance},
    }
    entries = []
    for name, result in measured.results.items():
        figures = result.to_json()
        kept = {key: figures[key] for key in _FIGURES if key in figures}
        named = {"result": name} if name else {}
        entries.append(plain({"of": of | named, **kept, "command": command_line()}))
    return entries


def _chosen(request: Request) -> dict[str, Any]:
    """The protocol and its data, files by their names."""
    chosen: dict[str, Any] = {"protocol": request.protocol}
    for field, name in _CHOICES.items():
        value = getattr(request, field)
        if value:
            chosen[name] = Path(value).name if isinstance(value, (str, Path)) else value
    return chosen
