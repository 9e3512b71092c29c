"""Decisions whether a similarity is that of one person, and the origin of their thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gfkeras.evaluation import COSINE, Similarity, Thresholds
from gfkeras.evaluation.thresholds import beside, check_far, check_threshold
from gfkeras.files import PathLike
from gfkeras.inference import Embedder


@dataclass(frozen=True)
class Decision:
    """A threshold to decide by.

    Attributes:
        threshold: two faces are one person's from this similarity on.
        similarity: the similarity that is compared with the threshold.
        origin: the file, preset or card that the threshold comes from.
        far: its false accept rate; None for a threshold given by hand.
        impostor: how many impostor pairs it was measured on, and
        interval: the 95 % interval of `far` that follows; None for a threshold given by hand.
    """

    threshold: float
    similarity: Similarity
    origin: str
    far: float | None
    impostor: int | None = None
    interval: tuple[float, float] | None = None

    def same(self, similarity: float) -> bool:
        """Whether a similarity is that of one person."""
        return similarity >= self.threshold

    def to_json(self) -> dict[str, object]:
        """Threshold, FAR, origin, and what they rest on."""
        return {
            "threshold": self.threshold,
            "far": self.far,
            "origin": self.origin,
            "impostor_pairs": self.impostor,
            "far_interval": None if self.interval is None else list(self.interval),
        }

    @property
    def basis(self) -> str | None:
        """What the FAR rests on, in words; None for a threshold given by hand."""
        if self.interval is None:
            return None
        low, high = self.interval
        return f"{self.impostor:,} impostor pairs: FAR {low:.1e} to {high:.1e} (95 %)"


def make_decision(
    model: PathLike,
    embedder: Embedder,
    similarity: Similarity | None,
    far: float | None,
    thresholds: PathLike | None,
    threshold: float | None,
    force: bool = False,
    strictest: bool = False,
) -> Decision | None:
    """The decision that a task is asked for; None where there are no thresholds.

    The first of these that is there counts, here and in the kits of `export/`, which know neither
    presets nor folders:

    1. `threshold`, given by hand;
    2. the file `thresholds`;
    3. those of the preset;
    4. those beside the model (`thresholds.json` in its folder, MODEL.thresholds.json beside an
       artefact);
    5. those in the artefact's card.

    `far` is by default the smallest that is offered, but at least 1e-3, or with `strictest` simply
    the smallest. A FAR at which fewer than ten false accepts are expected among the impostor pairs
    is not offered, unless with `force`.

    Raises:
        ValueError: for a threshold that is not finite or out of range, one by hand together with a
            FAR or a file, a FAR that is not offered, or a file of another model or of another
            similarity.
    """
    check_decision(far, thresholds, threshold, similarity)
    if threshold is not None:
        return Decision(threshold, similarity or COSINE, "given by hand", None)
    name = str(model)
    found = _found(name, embedder, thresholds)
    if found is None:
        if far is not None:
            raise ValueError(
                "`far` needs thresholds: give `thresholds` (--thresholds FILE), or have the file "
                f"{beside(name)}"
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
        far = known.offered(force)[0] if strictest else known.usual_far(force)
    threshold, origin = known.at(far, force), f"{Path(source).name}: {known.origin}"
    interval = known.interval(far)
    return Decision(threshold, known.similarity, origin, far, known.impostor, interval)


def check_decision(
    far: float | None,
    thresholds: PathLike | None,
    threshold: float | None,
    similarity: Similarity | None = None,
) -> None:
    """Raises ValueError for arguments that do not fit together or are out of range.

    Also for a file of thresholds that is damaged.
    """
    if far is not None:
        check_far(far)
    if threshold is not None:
        check_threshold(threshold, similarity or COSINE)
    if threshold is not None and (far is not None or thresholds is not None):
        raise ValueError(
            "`threshold` is a choice by hand: leave out `far` (--far) and `thresholds` "
            "(--thresholds)."
        )
    if thresholds is not None:
        Thresholds.load(thresholds)


def _found(
    model: str, embedder: Embedder, file: PathLike | None
) -> tuple[str, Thresholds, str] | None:
    """(name, thresholds, the fingerprint that they must be of) of the first place that has any."""
    if file is not None:
        return str(file), Thresholds.load(file), embedder.fingerprint
    from gfkeras.zoo.preset_files import preset_named, preset_thresholds

    preset = preset_named(model)
    known = None if preset is None else preset_thresholds(preset)
    if known is not None:
        return model, known, embedder.fingerprint
    own = beside(model)
    if own.is_file():
        return str(own), Thresholds.load(own), embedder.fingerprint
    card = embedder.card or {}
    if card.get("thresholds") is None:
        return None
    name = f"the card of {Path(model).name}"
    # They are the float model's: an int8 artefact has no thresholds of its own.
    return name, Thresholds.from_json(card["thresholds"], name), str(card.get("fingerprint"))
