"""Evaluation of a model by one of the field's protocols."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfkeras.cards import card as cards
from gfkeras.data.sources import Source
from gfkeras.errors import require
from gfkeras.evaluation import COSINE, PairList, Similarity, Thresholds, TunedSimilarity
from gfkeras.evaluation.plots import write_figures
from gfkeras.files import PathLike
from gfkeras.inference import Embedder
from gfkeras.safe_text import utf8
from gfkeras.tasks import protocols
from gfkeras.tasks.alignment import make_alignment
from gfkeras.tasks.card_content import accuracy_entries
from gfkeras.tasks.protocols import Measured, Protocol, ProtocolOptions
from gfkeras.tasks.reporting import Progress, stage_progress
from gfkeras.tasks.studies import Studied, run_study, study_options
from gfkeras.version import __version__


@dataclass(frozen=True)
class Evaluation:
    """Measurements of a model by a protocol or a study."""

    model: str
    options: ProtocolOptions
    measured: Measured
    studied: Studied | None
    similarity: Similarity
    # How β and γ were chosen, if they were.
    tuned: TunedSimilarity | None
    embedder: Embedder
    flip: bool
    align: bool
    images: PairList | Source

    @property
    def skipped(self) -> dict[Any, str]:
        """Reasons by the files or names that could not be used."""
        return {
            path: reason
            for result in self.measured.results.values()
            for path, reason in result.skipped_files
        }

    @property
    def left_out(self) -> Sequence[tuple[Path, str]]:
        """(path, reason) of what lies in the folder and is no photo of a person."""
        images = self.images
        return images.left_out if isinstance(images, PairList) else ()

    def to_json(self) -> dict[str, Any]:
        """The results of a protocol; of several results, by name."""
        results = {name: result.to_json() for name, result in self.measured.results.items()}
        shown: dict[str, Any] = results.get("", results)
        if self.left_out:
            shown["left_out"] = [[utf8(str(path)), reason] for path, reason in self.left_out]
        shown["protocol"] = self.options.protocol
        shown["similarity"] = dataclasses.asdict(self.similarity)
        if self.tuned is not None:
            shown["tuned"] = self.tuned.to_json()
        return shown | ({} if self.studied is None else self.studied.json)

    def draw(self, folder: PathLike) -> list[Path]:
        """Draws ROC, DET, scores and what else the protocol has into a folder."""
        figures = {name: make() for name, make in self.measured.figures.items()}
        title = f"{Path(self.model).name} on {self.measured.measured}"
        return write_figures(folder, figures, title=title)

    def thresholds(self, force: bool = False) -> Thresholds:
        """Thresholds by FAR, for `compare` and `search`.

        Those at which fewer than ten false accepts are expected are left out, unless with `force`.
        Raises ValueError for a protocol without a ROC curve, and too few impostor pairs.
        """
        curve = self.measured.curve
        if curve is None:
            raise _no_thresholds(self.options.protocol)
        day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        pairs = f"{self.measured.measured}, {curve.impostor:,} impostor pairs"
        origin = f"{pairs}, {day}, gfkeras {__version__}"
        model = self.embedder.fingerprint
        return Thresholds.from_curve(curve, self.similarity, origin, model, force=force)

    def record(self, command: str = "") -> Path:
        """Adds the results to the artefact's card and returns the card's path.

        `command` is the command line that measured, for the card.
        """
        similarity = dataclasses.asdict(self.similarity)
        of = {"flip": self.flip, "align": self.align, "similarity": similarity}
        path = Path(self.model)
        for entry in accuracy_entries(self.options, self.measured.results, of, command):
            path = cards.record(Path(self.model), "accuracy", entry)
        return path


def evaluate(
    model: PathLike,
    data: PathLike,
    *,
    protocol: str = "pairs",
    pairs: str | int | None = None,
    identities: Path | None = None,
    subset: str | None = None,
    task: str | None = None,
    max_frames: int | None = None,
    distractors: str | None = None,
    refined: bool = False,
    flip: bool = False,
    similarity: Similarity = COSINE,
    tune: str | None = None,
    tune_data: Path | None = None,
    study: str | None = None,
    at: Sequence[int] | None = None,
    fit_data: Path | None = None,
    fit_identities: Path | None = None,
    gallery_model: str | None = None,
    align: bool = False,
    detector: Path | None = None,
    face: str | None = None,
    resize: bool = False,
    bootstrap: int = 1000,
    threads: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    plots: bool = False,
    thresholds: bool = False,
    record: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measures a model by one of the field's protocols.

    Args:
        model: a preset, a model folder, a SavedModel, a .tflite or a .onnx file.
        data: the data set: a folder (one folder per person for "pairs"), or a .bin file.
        protocol: "pairs" (ten-fold accuracy, TAR at FAR, AUC, EER), "bin" (the same on
            InsightFace's sets), "ytf" (videos), "ijb" (templates, 1:1 and 1:N), "megaface"
            (identification among distractors) or "facenet" (VAL at FAR).
        pairs: for "pairs" and "facenet": a pairs file, "cfp-fp", "cfp-ff", "all", or a number of
            pairs to draw.
        identities: with pairs "all" or a number: a text file with the people to take.
        subset, task: for "ijb": "IJBB" or "IJBC"; "1:1", "1:N" or "both" (default).
        max_frames: for "ytf": frames of each video, evenly spread.
        distractors, refined: for "megaface": which list; leave out what the lists of noise name.
        flip: add the embedding of the mirrored image.
        similarity: what scores a pair.
        tune, tune_data: choose β and γ on these development pairs, and the folder of their images.
        study, at: measure again for each JPEG quality ("jpeg"), image side in pixels ("size"),
            number of dimensions ("dimension") or bits a number ("bits"); values such as [10, 20].
        fit_data, fit_identities: for the study "dimension": whose principal directions.
        gallery_model: an older model, whose embeddings this model's are compared with.
        align, detector, face: the images are photos; YuNet's file; which of several faces.
        resize: the images are faces of another size than the model's, cropped alike, such as ORL's:
            scale them to fit. By default they are skipped and listed.
        bootstrap: number of draws for the 95 % intervals; 0 leaves them out.
        threads: of the runtime.
        batch_size: images embedded at once.
        seed: of drawn pairs and of folds.
        plots, thresholds, record: you will call `draw`, `thresholds` or `record` of the result:
            what would make it fail is an error now, not after the work.
        progress: called with ("Embedding", images done, images).

    Raises:
        ValueError: for options that do not go together, and data or models that are missing or
            damaged.
        ImportError: naming the extra to install, for a runtime or matplotlib.

    Example:
        found = evaluate("model.tflite", "lfw", pairs="pairs.txt")
        found.to_json()["accuracy"]
        found.thresholds().save("thresholds.json")
    """
    options = ProtocolOptions(
        protocol, Path(data), pairs, identities, subset, task, max_frames, distractors, refined,
        tune, tune_data, similarity, bootstrap, seed, resize,
    )  # fmt: skip
    protocols.check_options(options)
    if align and resize:
        raise ValueError("`resize` is for faces that are not aligned with `align` (--align).")
    kept = {"record": record, "thresholds": thresholds}
    studying = study_options(options, study, at, fit_data, fit_identities, gallery_model, kept)
    if thresholds and not protocols.PROTOCOLS[protocol].has_curve:
        raise _no_thresholds(protocol)
    if record:
        cards.recordable_card(Path(model))
    if plots:
        require("matplotlib", "plots")
    opened = protocols.open_data(options)
    alignment = make_alignment(align, detector, face)
    moved = stage_progress(progress, "Embedding")
    running, *gallery = [
        Protocol(options, opened, embedder, alignment(embedder.image_size), moved)
        for embedder in [
            Embedder(name, flip=flip, batch_size=batch_size, num_threads=threads)
            for name in (model, gallery_model)
            if name is not None
        ]
    ]
    studied = None if studying is None else run_study(studying, running, *gallery)
    measured = running.run() if studied is None else studied.measured
    return Evaluation(
        str(model), options, measured, studied, running.used, running.tuned, running.embedder,
        flip, align, opened.images,
    )  # fmt: skip


def _no_thresholds(protocol: str) -> ValueError:
    return ValueError(
        "`thresholds` goes with the protocols pairs, bin, ytf and ijb (1:1). "
        f"Received: protocol={protocol} (--protocol)"
    )
