"""Content of an artefact's card: measurements and facts about the model."""

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
    from gfkeras.tasks.protocol_data import ProtocolOptions
    from gfkeras.zoo.registry import Preset

# Keys of a result's JSON that a card records. The others are long lists of files and folds.
_NUMBERS = (
    "accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "validation_rate", "rank",
    "fnir_at_fpir", "pairs", "impostor", "skipped",
)  # fmt: skip
# Options that choose the data of a protocol, and their names in a card.
_CHOICES = {
    "data": "data", "pairs": "list", "identities": "identities", "subset": "subset",
    "max_frames": "max_frames", "distractors": "distractors", "refined": "refined",
}  # fmt: skip


def accuracy_entries(
    options: ProtocolOptions, results: Mapping[str, Any], of: Mapping[str, Any], command: str
) -> list[dict[str, Any]]:
    """Returns a card entry for each result of a protocol.

    Files are recorded by name, without their folder.

    Args:
        options: the options of the protocol.
        results: the results by name.
        of: further conditions of the measurement, such as the similarity.
        command: the command line that measured.
    """
    chosen: dict[str, Any] = {"protocol": options.protocol}
    for field, name in _CHOICES.items():
        value = getattr(options, field)
        if value:
            # Without the folder: a path on this machine means nothing to readers of the card.
            chosen[name] = Path(value).name if isinstance(value, (str, Path)) else value
    entries = []
    for name, result in results.items():
        numbers = result.to_json()
        kept = {key: numbers[key] for key in _NUMBERS if key in numbers}
        named = {"result": name} if name else {}
        entries.append(json_values({"of": chosen | dict(of) | named, **kept, "command": command}))
    return entries


def latency_entries(measured: Measurement, command: str) -> list[dict[str, Any]]:
    """Returns a card entry for each number of threads that `bench` measured."""
    machine = {"processor": _processor(), "system": f"{platform.system()} {platform.machine()}"}
    entries = []
    for each in measured.latencies:
        found = {"latency_ms_median": each.latency_ms_median, "latency_ms_p95": each.latency_ms_p95}
        # A latency has no meaning without its machine, so both are recorded together.
        of = {"machine": machine, "threads": each.threads, "batch_size": 1}
        entries.append(json_values({"of": of, **found, "command": command}))
    return entries


def _processor() -> str:
    """Returns the model name of the processor, or its architecture if the name is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    # Linux lists the model name once per processor. All are the same.
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def preset_facts(preset: Preset, model: keras.Model) -> About:
    """Returns the facts in a preset's `model.toml`, with its thresholds assigned to `model`."""
    from gfkeras.export import About
    from gfkeras.models.properties import model_fingerprint
    from gfkeras.zoo.preset_files import preset_results, preset_sources, preset_thresholds

    known = preset_thresholds(preset)
    if known is not None:
        # `model.toml` does not state the fingerprint: its thresholds are for the preset's weights.
        known = dataclasses.replace(known, model=model_fingerprint(model))
    return About(known, preset_sources(preset), preset_results(preset))


def model_facts(
    name: str, model: keras.Model, mode: str | None, thresholds: PathLike | None
) -> tuple[About, str | None]:
    """Returns the facts about a preset or a model folder, and a note if thresholds are left out.

    Args:
        name: the preset or the model folder.
        model: the loaded model.
        mode: mode of the exported model, or None for the mode of `model`.
        thresholds: file to use instead of the model's thresholds.
    """
    from gfkeras.export import About
    from gfkeras.models.properties import model_fingerprint
    from gfkeras.zoo.preset_files import folder_sources
    from gfkeras.zoo.registry import read_preset

    folder = Path(name)
    # A folder wins over a preset of the same name, as in `gfkeras.load`.
    if folder.is_dir():
        file = beside(folder)
        own = Thresholds.load(file) if file.is_file() and thresholds is None else None
        found = About(own, folder_sources(folder))
    else:
        found = preset_facts(read_preset(name), model)
    if thresholds is not None:
        # The export raises an error if this file is for another model: the user asked for it.
        return dataclasses.replace(found, thresholds=Thresholds.load(thresholds)), None
    known = found.thresholds
    if known is not None and known.model and known.model != model_fingerprint(model, mode):
        # Thresholds that nobody asked for are dropped with a note instead of an error.
        note = f"The card has no thresholds: those of {name} are for other weights or another mode."
        return dataclasses.replace(found, thresholds=None), note
    return found, None
