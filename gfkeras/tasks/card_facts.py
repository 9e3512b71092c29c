"""Facts about a model for the card of its artefacts: thresholds, sources, results."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gfkeras.evaluation import Thresholds
from gfkeras.evaluation.thresholds import beside
from gfkeras.files import PathLike

if TYPE_CHECKING:
    import keras

    from gfkeras.export import About
    from gfkeras.zoo.registry import Preset


def preset_facts(preset: Preset, model: keras.Model) -> About:
    """Returns what `model.toml` says; its thresholds are those of `model` in its present mode."""
    from gfkeras.export import About
    from gfkeras.models.properties import model_fingerprint
    from gfkeras.zoo.preset_files import preset_thresholds
    from gfkeras.zoo.sources import preset_results, preset_sources

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
    from gfkeras.zoo.registry import read_preset
    from gfkeras.zoo.sources import folder_sources

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
