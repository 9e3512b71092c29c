"""Decisions by threshold: same person or not, and the origin of the threshold."""

from dataclasses import dataclass
from pathlib import Path

from gfkeras.errors import wrong
from gfkeras.evaluation import COSINE, Similarity, Thresholds
from gfkeras.evaluation.thresholds import beside, check_far, check_threshold
from gfkeras.files import PathLike
from gfkeras.inference import Embedder


@dataclass(frozen=True)
class Decision:
    """A threshold and its origin.

    `far`, `impostor` and `interval` are None for a threshold given by the user.

    Attributes:
        threshold: smallest similarity at which two faces are the same person.
        similarity: measure of similarity that the threshold is for.
        origin: the file, preset or card that the threshold comes from.
        far: false accept rate at the threshold.
        impostor: number of impostor pairs that `far` was measured on.
        interval: 95 % confidence interval of `far` for that number of pairs.
    """

    threshold: float
    similarity: Similarity
    origin: str
    far: float | None
    impostor: int | None = None
    interval: tuple[float, float] | None = None

    def same(self, similarity: float) -> bool:
        """Whether two faces with this similarity are the same person."""
        return similarity >= self.threshold

    def to_json(self) -> dict[str, object]:
        """Threshold, FAR, origin, number of impostor pairs and interval."""
        return {
            "threshold": self.threshold,
            "far": self.far,
            "origin": self.origin,
            "impostor_pairs": self.impostor,
            "far_interval": None if self.interval is None else list(self.interval),
        }

    @property
    def basis(self) -> str | None:
        """The measurement of the FAR as text, or None for a threshold given by the user."""
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
    """Returns the threshold to decide by, or None if there is none.

    The first threshold in this order is used. The kits in `export/` use the same order, without
    presets and model folders.

    1. `threshold`
    2. the file `thresholds`
    3. the thresholds of the preset
    4. the thresholds file next to the model: `thresholds.json` in its folder, or
       MODEL.thresholds.json next to an artefact
    5. the thresholds in the artefact's card

    By default, `far` is the smallest available FAR that is at least 1e-3. With `strictest`, it is
    the smallest available FAR. A FAR with fewer than ten expected false accepts among the impostor
    pairs is available only with `force`.

    Raises:
        ValueError: if `threshold` is not finite, out of range, or combined with `far` or
            `thresholds`, if `far` is not available, or if the thresholds are for another model or
            another similarity.
    """
    check_decision(far, thresholds, threshold, similarity)
    if threshold is not None:
        return Decision(threshold, similarity or COSINE, "given by the user", None)
    name = str(model)
    found = _found(name, embedder, thresholds)
    if found is None:
        if far is not None:
            raise ValueError(
                f"`far` requires thresholds: `thresholds` (--thresholds FILE) or {beside(name)}. "
                "Received: neither"
            )
        return None
    source, known, fingerprint = found
    # Thresholds for another model or similarity would give wrong decisions.
    if known.model and known.model != fingerprint:
        received = f"{source} for the model {known.model[:12]}…"
        raise wrong("thresholds", f"be for this model, {fingerprint[:12]}…", received)
    if similarity is not None and similarity != known.similarity:
        received = f"{source} for {known.similarity}"
        raise wrong("thresholds", f"be for the similarity in use, {similarity}", received)
    # A cluster needs the strictest threshold, because one false match joins two people.
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
    """Raises ValueError if arguments are out of range or do not fit together.

    Also raises it if the file `thresholds` is damaged. Tasks call this before they load a model.
    """
    if far is not None:
        check_far(far)
    if threshold is not None:
        check_threshold(threshold, similarity or COSINE)
    if threshold is not None and (far is not None or thresholds is not None):
        raise ValueError(
            "`threshold` cannot be combined with `far` (--far) or `thresholds` (--thresholds). "
            f"Received: threshold={threshold}, far={far}, thresholds={thresholds}"
        )
    if thresholds is not None:
        Thresholds.load(thresholds)


def _found(
    model: str, embedder: Embedder, file: PathLike | None
) -> tuple[str, Thresholds, str] | None:
    """Returns (name, thresholds, fingerprint of their model) of the first place that has any."""
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
    # The card has the thresholds of the float model with that model's fingerprint, also in an int8
    # artefact, whose own fingerprint differs.
    return name, Thresholds.from_json(card["thresholds"], name), str(card.get("fingerprint"))
