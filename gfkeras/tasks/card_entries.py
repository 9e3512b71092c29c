"""Measurements as entries of an artefact's card, for `gfkeras.cards.card.record`."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.files import json_values

if TYPE_CHECKING:
    from gfkeras.inference.measuring import Measurement
    from gfkeras.tasks.protocols import ProtocolOptions

# Of a result's JSON; the rest are lists of files and of folds.
_NUMBERS = (
    "accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "validation_rate", "rank",
    "fnir_at_fpir", "pairs", "impostor", "skipped",
)  # fmt: skip
# What chooses the data of a protocol, and what a card calls it.
_CHOICES = {
    "data": "data", "pairs": "list", "identities": "identities", "subset": "subset",
    "max_frames": "max_frames", "distractors": "distractors", "refined": "refined",
}  # fmt: skip


def accuracy_entries(
    options: ProtocolOptions, results: Mapping[str, Any], of: Mapping[str, Any], command: str
) -> list[dict[str, Any]]:
    """Returns an entry for each result of a protocol.

    `results` are by name, `of` says how they were measured besides the options, such as the
    similarity, and `command` is the command line. Files are recorded by their names.
    """
    chosen: dict[str, Any] = {"protocol": options.protocol}
    for field, name in _CHOICES.items():
        value = getattr(options, field)
        if value:
            chosen[name] = Path(value).name if isinstance(value, (str, Path)) else value
    entries = []
    for name, result in results.items():
        numbers = result.to_json()
        kept = {key: numbers[key] for key in _NUMBERS if key in numbers}
        named = {"result": name} if name else {}
        entries.append(json_values({"of": chosen | dict(of) | named, **kept, "command": command}))
    return entries


def latency_entries(measured: Measurement, command: str) -> list[dict[str, Any]]:
    """Returns an entry for each number of threads of a measurement of `bench`."""
    machine = {"processor": _processor(), "system": f"{platform.system()} {platform.machine()}"}
    entries = []
    for each in measured.latencies:
        found = {"latency_ms_median": each.latency_ms_median, "latency_ms_p95": each.latency_ms_p95}
        of = {"machine": machine, "threads": each.threads, "batch_size": 1}
        entries.append(json_values({"of": of, **found, "command": command}))
    return entries


def _processor() -> str:
    """The processor's model, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
