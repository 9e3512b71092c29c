"""Decisions whether a similarity is that of one person, and the origin of their thresholds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gfkeras.evaluation import COSINE, Similarity, Thresholds
from gfkeras.evaluation.thresholds import beside

if TYPE_CHECKING:
    from gfkeras.inference import Embedder


@dataclass(frozen=True)
class Decision:
    """A threshold to decide by.

    Attributes:
        threshold: two faces are one person's from this similarity on.
        similarity: the similarity that is compared with the threshold.
        origin: the file, preset or card that the threshold comes from.
        far: the false accept rate of the threshold; None for a threshold given by hand.
    """

    threshold: float
    similarity: Similarity
    origin: str
    far: float | None

    def same(self, similarity: float) -> bool:
        """Whether a similarity is that of one person."""
        return similarity >= self.threshold

    def to_json(self) -> dict[str, object]:
        """Threshold, FAR and origin."""
        return {"threshold": self.threshold, "far": self.far, "origin": self.origin}


def make_decision(
    model: str | os.PathLike[str],
    embedder: Embedder,
    similarity: Similarity | None,
    far: float | None,
    thresholds: str | os.PathLike[str] | None,
    threshold: float | None,
) -> Decision | None:
    """The decision that a task is asked for; None where there are no thresholds.

    The first of these that is there counts: `threshold`; `thresholds`; those of the preset; those
    beside the model (`thresholds.json` in its folder, MODEL.thresholds.json beside an artefact);
    those in the artefact's card.

    Args:
        model: the model's name or path.
        embedder: the opened model.
        similarity: the similarity that the task must score by; None takes that of the thresholds.
        far: the false accept rate; by default the smallest that the thresholds have, but at least
            1e-3.
        thresholds: a file that `gfkeras evaluate --thresholds` wrote.
        threshold: a similarity chosen by hand.

    Raises:
        ValueError: for a threshold by hand together with a FAR or a file, a FAR that is not there,
            or a file of another model or of another similarity.
    """
    check_decision(far, thresholds, threshold)
    if threshold is not None:
        return Decision(threshold, similarity or COSINE, "given by hand", None)
    name = os.fspath(model)
    found = _found(name, embedder, thresholds)
    if found is None:
        if far is not None:
            raise ValueError(
                f"`far` needs thresholds: --thresholds FILE, or the file {beside(name)}"
            )
        return None
    source, known, fingerprint = found
    if known.model and known.model != fingerprint:
        raise ValueError(
            f"`thresholds` must be of this model. {source} is of another one: {known.model[:12]}…, "
            f"not {fingerprint[:12]}…"
        )
    if similarity is not None and similarity != known.similarity:
        raise ValueError(
            f"`thresholds` must be of the similarity that is used, {similarity}. "
            f"Received: {source} of {known.similarity}"
        )
    if far is None:
        # Thresholds at the smallest FARs rest on a few pairs.
        usual = [float(name) for name in known.at_far if float(name) >= 1e-3]
        far = min(usual, default=max(float(name) for name in known.at_far))
    return Decision(known.at(far), known.similarity, f"{Path(source).name}: {known.origin}", far)


def check_decision(
    far: float | None, thresholds: str | os.PathLike[str] | None, threshold: float | None
) -> None:
    """Raises ValueError for arguments of `make_decision` that do not fit together.

    Also for a file of thresholds that cannot be read. No model is needed.
    """
    if threshold is not None and (far is not None or thresholds is not None):
        raise ValueError("`threshold` is a choice by hand: leave out --far and --thresholds.")
    if thresholds is not None:
        Thresholds.load(thresholds)


def _found(
    model: str, embedder: Embedder, file: str | os.PathLike[str] | None
) -> tuple[str, Thresholds, str] | None:
    """(name, thresholds, the fingerprint that they must be of) of the first place that has any."""
    if file is not None:
        return os.fspath(file), Thresholds.load(file), embedder.fingerprint
    known = _of_preset(model)
    if known is not None:
        return model, known, embedder.fingerprint
    own = beside(model)
    if own.is_file():
        return str(own), Thresholds.load(own), embedder.fingerprint
    card = embedder.card or {}
    if "thresholds" not in card:
        return None
    name = f"the card of {Path(model).name}"
    # They are the float model's: an int8 artefact has no thresholds of its own.
    return name, Thresholds.from_json(card["thresholds"], name), str(card.get("fingerprint"))


def _of_preset(model: str) -> Thresholds | None:
    """The thresholds of a preset; None for any other model, and for one without."""
    from gfkeras.zoo.preset_files import preset_named, preset_thresholds

    preset = preset_named(model)
    return None if preset is None else preset_thresholds(preset)
