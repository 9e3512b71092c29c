"""Content of an artefact's card: measurements, and facts about its model."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.evaluation import Thresholds
from gfkeras.evaluation.thresholds import beside
from gfkeras.files import PathLike, json_values
from gfkeras.inference.measuring import Measurement

if TYPE_CHECKING:
    import keras

    from gfkeras.export import About
    from gfkeras.tasks.protocols import ProtocolOptions
    from gfkeras.zoo.registry import Preset

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


def preset_facts(preset: Preset, model: keras.Model) -> About:
    """Returns what `model.toml` says; its thresholds are those of `model` in its present mode."""
    from gfkeras.export import About
    from gfkeras.models.properties import model_fingerprint
    from gfkeras.zoo.preset_files import preset_results, preset_sources, preset_thresholds

    known = preset_thresholds(preset)
    if known is not None:
        known = dataclasses.replace(known, model=model_fingerprint(model))
    return About(known, preset_sources(preset), preset_results(preset))


def model_facts(
    name: str, model: keras.Model, mode: str | None, thresholds: PathLike | None
) -> tuple[About, str | None]:
    """Returns what is known of a preset or a model folder, and a note on what was left out.

    `mode` is the one that is exported, None for the model's own; `thresholds` is a file to take in
    place of the model's own thresholds.
    """
    from gfkeras.export import About
    from gfkeras.models.properties import model_fingerprint
    from gfkeras.zoo.preset_files import folder_sources
    from gfkeras.zoo.registry import read_preset

    folder = Path(name)
    # A folder of that name comes first, as in `gfkeras.load`.
    if folder.is_dir():
        file = beside(folder)
        own = Thresholds.load(file) if file.is_file() and thresholds is None else None
        found = About(own, folder_sources(folder))
    else:
        found = preset_facts(read_preset(name), model)
    if thresholds is not None:
        # The user asked for these, so the export refuses them if they are of another model.
        return dataclasses.replace(found, thresholds=Thresholds.load(thresholds)), None
    known = found.thresholds
    if known is not None and known.model and known.model != model_fingerprint(model, mode):
        note = f"No thresholds in the card: those of {name} are of other weights or another mode."
        return dataclasses.replace(found, thresholds=None), note
    return found, None
