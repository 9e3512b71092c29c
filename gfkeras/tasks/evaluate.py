"""Evaluation of a model with a standard protocol."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfkeras.cards import card as cards
from gfkeras.data.alignment import FaceCropper
from gfkeras.errors import require
from gfkeras.evaluation import COSINE, AllPairs, PairList, Similarity, Thresholds, TunedSimilarity
from gfkeras.evaluation.plots import write_figures
from gfkeras.files import PathLike
from gfkeras.inference import Embedder
from gfkeras.safe_text import utf8
from gfkeras.tasks import protocols
from gfkeras.tasks.alignment import make_crop
from gfkeras.tasks.card_content import accuracy_entries
from gfkeras.tasks.protocol_data import Images, ProtocolOptions
from gfkeras.tasks.protocols import Measured, Protocol
from gfkeras.tasks.reporting import Progress, stage_progress
from gfkeras.tasks.studies import Studied, run_study, study_options
from gfkeras.version import __version__


@dataclass(frozen=True)
class Evaluation:
    """The measurements of a model with a protocol or a study."""

    model: str
    options: ProtocolOptions
    measured: Measured
    studied: Studied | None
    similarity: Similarity
    # The choice of β and γ on development pairs, or None without `tune`.
    tuned: TunedSimilarity | None
    embedder: Embedder
    flip: bool
    align: bool
    # {"kind", "scale"} of faces that were cut out without alignment, or None.
    crop: dict[str, Any] | None
    images: Images

    @property
    def skipped(self) -> dict[Any, str]:
        """The reason for each file or name that was not usable."""
        return {
            path: reason
            for result in self.measured.results.values()
            for path, reason in result.skipped_files
        }

    @property
    def left_out(self) -> Sequence[tuple[Path, str]]:
        """(path, reason) of the files in the folder that are not photos of people."""
        images = self.images
        return images.left_out if isinstance(images, (PairList, AllPairs)) else ()

    def to_json(self) -> dict[str, Any]:
        """The result of the protocol, or several results by name."""
        results = {name: result.to_json() for name, result in self.measured.results.items()}
        shown: dict[str, Any] = results.get("", results)
        if self.left_out:
            shown["left_out"] = [[utf8(str(path)), reason] for path, reason in self.left_out]
        shown["protocol"] = self.options.protocol
        shown["similarity"] = dataclasses.asdict(self.similarity)
        if self.crop is not None:
            shown["crop"] = self.crop
        if self.tuned is not None:
            shown["tuned"] = self.tuned.to_json()
        return shown | ({} if self.studied is None else self.studied.json)

    def draw(self, folder: PathLike) -> list[Path]:
        """Draws the plots of the protocol, such as ROC, DET and scores, into a folder."""
        figures = {name: make() for name, make in self.measured.figures.items()}
        title = f"{Path(self.model).name} on {self.measured.measured}"
        return write_figures(folder, figures, title=title)

    def thresholds(self, force: bool = False) -> Thresholds:
        """Returns thresholds by FAR, for `compare` and `search`.

        Thresholds with fewer than ten expected false accepts are included only with `force`.
        Raises ValueError if the protocol has no ROC curve or too few impostor pairs.
        """
        curve = self.measured.curve
        if curve is None:
            raise _no_thresholds(self.options.protocol)
        # The origin tells users of the thresholds how they were measured.
        day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        pairs = f"{self.measured.measured}, {curve.impostor:,} impostor pairs"
        origin = f"{pairs}, {day}, gfkeras {__version__}"
        model = self.embedder.fingerprint
        return Thresholds.from_curve(curve, self.similarity, origin, model, force=force)

    def record(self, command: str = "") -> Path:
        """Adds the results to the artefact's card and returns the path of the card.

        `command` is the command line to write into the card.
        """
        similarity = dataclasses.asdict(self.similarity)
        of: dict[str, Any] = {"flip": self.flip, "align": self.align, "similarity": similarity}
        if self.crop is not None:
            of["crop"] = self.crop
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
    crop: str | None = None,
    crop_scale: float | None = None,
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
    """Measures a model's accuracy with a standard protocol.

    Args:
        model: a preset, a model folder, a SavedModel, a .tflite or .onnx file.
        data: folder of the data set (one folder per person for "pairs"), or a .bin file.
        protocol: "pairs" (ten-fold accuracy, TAR at FAR, AUC and EER), "bin" (the same on
            InsightFace's .bin files), "cfp" (the same on both lists of CFP), "ytf" (videos), "ijb"
            (templates, 1:1 and 1:N), "megaface" (distractors) or "facenet" (VAL at FAR).
        pairs: for "pairs" and "facenet": a pairs file, "cfp-fp", "cfp-ff", "all", or a number of
            random pairs. For "cfp": the folder of the lists. By default, it is found in `data` or
            next to it.
        identities: with pairs "all" or a number: text file with the people to use.
        subset: for "ijb": "IJBB" or "IJBC". For "cfp": "FF" or "FP". By default, both.
        task: for "ijb": "1:1", "1:N" or "both" (default).
        max_frames: for "ytf": largest number of frames per video, evenly spread.
        distractors: for "megaface": list of distractors, if the folder has several.
        refined: for "megaface": leave out the images that the noise lists name.
        flip: also embed the mirror image, and add the two embeddings.
        similarity: measure that scores a pair.
        tune: list of development pairs that choose β and γ.
        tune_data: folder of the images of `tune`. By default, `data`.
        study: measure again at several JPEG qualities ("jpeg"), image sizes in pixels ("size"),
            numbers of dimensions ("dimension") or bits per number ("bits").
        at: values to measure in the study, such as [10, 20], instead of the usual ones.
        fit_data: for the study "dimension": folder with one folder per person, to fit the principal
            components. By default, the people of `data` that are not in a pair.
        fit_identities: text file with the people of `fit_data` to use.
        gallery_model: older model that embeds the gallery, while `model` embeds the probes.
        align: the images are photos: find and align the face in each.
        detector: with `align` or `crop` "box": YuNet file. By default, it is downloaded once.
        face: with `align` or `crop` "box": face to take from a photo, "largest" (default) or
            "central".
        crop: the images are photos: cut the face out without alignment, from the middle of the
            photo ("center") or around the detector's box ("box").
        crop_scale: side of the cut square, as a share of the photo's shorter side (center, by
            default 0.55) or as a multiple of the box's longer side (box, by default 1.2).
        resize: scale cropped faces of another size, such as those of ORL, to fit. By default, they
            are left out and listed.
        bootstrap: bootstrap samples for the 95 % intervals. 0: no intervals.
        threads: threads of the runtime. By default, the runtime chooses.
        batch_size: images per batch.
        seed: random seed for pairs and folds.
        plots, thresholds, record: check now whether `draw`, `thresholds` or `record` of the result
            can work, instead of failing after the measurement.
        progress: called with ("Embedding", images done, number of images).

    Raises:
        ValueError: if options do not fit together, or if data or models are missing or damaged.
        ImportError: if a runtime or matplotlib is missing. The message names the extra to install.

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
    if (align or crop is not None) and resize:
        other = "`align` (--align)" if align else "`crop` (--crop)"
        raise ValueError(f"`resize` (--resize) cannot be combined with {other}. Received: both")
    kept = {"record": record, "thresholds": thresholds}
    studying = study_options(options, study, at, fit_data, fit_identities, gallery_model, kept)
    if thresholds and not protocols.PROTOCOLS[protocol].has_curve:
        raise _no_thresholds(protocol)
    # Check all later uses of the result now: the measurement can take hours.
    if record:
        cards.recordable_card(Path(model))
    if plots:
        require("matplotlib", "plots")
    opened = protocols.open_data(options)
    alignment = make_crop(crop, crop_scale, align, detector, face)
    moved = stage_progress(progress, "Embedding")
    # With --gallery-model, a second protocol runs the older model on the same data.
    running, *gallery = [
        Protocol(options, opened, embedder, alignment(embedder.image_size), moved)
        for embedder in [
            Embedder(name, flip=flip, batch_size=batch_size, num_threads=threads)
            for name in (model, gallery_model)
            if name is not None
        ]
    ]
    reader = running.aligner
    cut = {"kind": reader.crop, "scale": reader.scale} if isinstance(reader, FaceCropper) else None
    studied = None if studying is None else run_study(studying, running, *gallery)
    measured = running.run() if studied is None else studied.measured
    return Evaluation(
        str(model), options, measured, studied, running.used, running.tuned, running.embedder,
        flip, align, cut, opened.images,
    )  # fmt: skip


def _no_thresholds(protocol: str) -> ValueError:
    return ValueError(
        "`thresholds` requires `protocol` (--protocol) pairs, bin, cfp, ytf or ijb (1:1). "
        f"Received: protocol={protocol}"
    )
