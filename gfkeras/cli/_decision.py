"""Whether a similarity is that of one person: a threshold, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gfkeras.evaluation import Similarity, Thresholds
    from gfkeras.inference import Embedder

FarOption = Annotated[
    float | None,
    typer.Option(help="Decide at this FAR, such as 1e-3, by --thresholds or those of the model."),
]
ThresholdsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What `gfkeras evaluate --thresholds` wrote."),
]
ThresholdOption = Annotated[
    float | None, typer.Option(help="Decide by this similarity, chosen by hand.")
]
HOW_TO_DECIDE = (
    "No threshold, so no decision. Measure them once: gfkeras evaluate MODEL … --thresholds FILE; "
    "then --thresholds FILE --far 1e-3, or by hand --threshold 0.4"
)


@dataclass(frozen=True)
class Decision:
    """A threshold to decide by.

    Attributes:
        threshold: one person from this similarity on.
        similarity: what is compared with it.
        origin: where it comes from.
        far: at which FAR; None where it was given by hand.
    """

    threshold: float
    similarity: Similarity
    origin: str
    far: float | None

    def same(self, similarity: float) -> bool:
        """Whether a similarity is that of one person."""
        return similarity >= self.threshold

    def to_json(self) -> dict[str, object]:
        """For `--json`."""
        return {"threshold": self.threshold, "far": self.far, "origin": self.origin}


def make_decision(
    model: str,
    embedder: Embedder,
    similarity: Similarity | None,
    far: float | None,
    thresholds: Path | None,
    threshold: float | None,
) -> Decision | None:
    """What the options ask for; None where there is nothing to decide by.

    In this order: --threshold; --thresholds; those of the preset; those beside the model
    (`thresholds.json` in its folder, MODEL.thresholds.json beside an artefact); those in the
    artefact's card. Without --far the smallest FAR that they have, 1e-3 or more.

    Args:
        similarity: what the command scores by, where its options say so.

    Raises:
        ValueError: for a threshold by hand together with a FAR or a file, a FAR that is not there,
            a file of another model or of another similarity.
    """
    from gfkeras.evaluation import COSINE
    from gfkeras.evaluation.thresholds import beside

    if threshold is not None:
        if far is not None or thresholds is not None:
            raise ValueError("`threshold` is a choice by hand: leave out --far and --thresholds.")
        return Decision(threshold, similarity or COSINE, "given by hand", None)
    found = _found(model, embedder, thresholds)
    if found is None:
        if far is not None:
            raise ValueError(
                f"`far` needs thresholds: --thresholds FILE, or the file {beside(model)}"
            )
        return None
    name, known, fingerprint = found
    if known.model and known.model != fingerprint:
        raise ValueError(
            f"`thresholds` must be of this model. {name} is of another one: {known.model[:12]}…, "
            f"not {fingerprint[:12]}…"
        )
    if similarity is not None and similarity != known.similarity:
        raise ValueError(
            f"`thresholds` must be of the similarity that is used, {similarity}. "
            f"Received: {name} of {known.similarity}"
        )
    if far is None:
        # Thresholds at the smallest FARs rest on a few pairs.
        usual = [float(name) for name in known.at_far if float(name) >= 1e-3]
        far = min(usual, default=max(float(name) for name in known.at_far))
    return Decision(known.at(far), known.similarity, f"{Path(name).name}: {known.origin}", far)


def _found(model: str, embedder: Embedder, file: Path | None) -> tuple[str, Thresholds, str] | None:
    """(name, thresholds, the fingerprint that they must be of) of the first place that has any."""
    from gfkeras.evaluation import Thresholds
    from gfkeras.evaluation.thresholds import beside

    if file is None:
        known = _of_preset(model)
        if known is not None:
            return model, known, embedder.fingerprint
        file = beside(model)
        card = embedder.card or {}
        if not file.is_file() and "thresholds" not in card:
            return None
        if not file.is_file():
            name = f"the card of {Path(model).name}"
            # The float model's, of which an int8 artefact has no thresholds of its own.
            fingerprint = str(card.get("fingerprint"))
            return name, Thresholds.from_json(card["thresholds"], name), fingerprint
    return str(file), Thresholds.load(file), embedder.fingerprint


def _of_preset(model: str) -> Thresholds | None:
    """The thresholds of a preset; None for any other model, and for one without."""
    from gfkeras.zoo.registry import preset_names, preset_thresholds, read_preset

    # A folder of that name goes first, as it does in `gfkeras.load`.
    if Path(model).exists() or model not in preset_names():
        return None
    return preset_thresholds(read_preset(model))
