"""Measurements of `gfkeras evaluate` and `gfkeras bench` as entries of an artefact's card."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.cli._command_line import command_line
from gfkeras.cli._output import plain

if TYPE_CHECKING:
    from gfkeras.cli._protocols import Measured, Protocol, Request
    from gfkeras.inference.measuring import Measurement

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
    """One for each result of a protocol, for `gfkeras.cards.card.record`."""
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


def latency_entries(measured: Measurement) -> list[dict[str, Any]]:
    """One for each number of threads, for `gfkeras.cards.card.record`."""
    machine = {"processor": _processor(), "system": f"{platform.system()} {platform.machine()}"}
    entries = []
    for each in measured.latencies:
        found = {"latency_ms_median": each.latency_ms_median, "latency_ms_p95": each.latency_ms_p95}
        of = {"machine": machine, "threads": each.threads, "batch_size": 1}
        entries.append(plain({"of": of, **found, "command": command_line()}))
    return entries


def _processor() -> str:
    """The processor's model, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _chosen(request: Request) -> dict[str, Any]:
    """The protocol and its data, files by their names."""
    chosen: dict[str, Any] = {"protocol": request.protocol}
    for field, name in _CHOICES.items():
        value = getattr(request, field)
        if value:
            chosen[name] = Path(value).name if isinstance(value, (str, Path)) else value
    return chosen
