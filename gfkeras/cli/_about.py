"""What the card of an artefact is told of its model: thresholds, sources, results."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gfkeras.cli._output import say

if TYPE_CHECKING:
    import keras

    from gfkeras.export import About
    from gfkeras.zoo.registry import Preset


def about_preset(preset: Preset, model: keras.Model) -> About:
    """What its `model.toml` says; its thresholds are of `model` in the mode it has."""
    from gfkeras.export import About
    from gfkeras.models.properties import model_fingerprint
    from gfkeras.zoo.preset_files import preset_thresholds
    from gfkeras.zoo.sources import preset_results, preset_sources

    known = preset_thresholds(preset)
    if known is not None:
        known = dataclasses.replace(known, model=model_fingerprint(model))
    return About(known, preset_sources(preset), preset_results(preset))


def about(name: str, model: keras.Model, mode: str | None, thresholds: Path | None) -> About:
    """What is known of a model that a command names.

    Args:
        name: a preset or a model folder.
        model: what it loads.
        mode: in which it is exported; None for its own.
        thresholds: a file to take instead of those of the model.

    Raises:
        ValueError: for files that are not as they should be.
    """
    from gfkeras.evaluation import Thresholds
    from gfkeras.evaluation.thresholds import beside
    from gfkeras.export import About
    from gfkeras.models.properties import model_fingerprint
    from gfkeras.zoo.registry import read_preset
    from gfkeras.zoo.sources import folder_sources

    folder = Path(name)
    # A folder of that name goes first, as it does in `gfkeras.load`.
    if folder.is_dir():
        file = beside(folder)
        known = Thresholds.load(file) if file.is_file() and thresholds is None else None
        found = About(known, folder_sources(folder))
    else:
        found = about_preset(read_preset(name), model)
    if thresholds is not None:
        # Of another model they are refused, for they were asked for.
        return dataclasses.replace(found, thresholds=Thresholds.load(thresholds))
    known = found.thresholds
    if known is not None and known.model and known.model != model_fingerprint(model, mode):
        say(f"No thresholds in the card: those of {name} are of other weights or another mode.")
        return dataclasses.replace(found, thresholds=None)
    return found
