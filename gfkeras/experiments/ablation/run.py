"""One training of an ablation with one seed, and its measurements."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import keras
import numpy as np

from gfkeras.data import Faces, RecordSet
from gfkeras.evaluation import effective_groups
from gfkeras.evaluation.embedded import embed_images
from gfkeras.experiments.ablation.faces import PairFaces
from gfkeras.experiments.ablation.row import Scoring
from gfkeras.files import parsed_json, write_json, write_text
from gfkeras.inference import FileEmbeddings
from gfkeras.inference.runtimes import KerasModelRuntime
from gfkeras.models import GroupFace, count_macs
from gfkeras.saving import load_model
from gfkeras.training import Recipe, train
from gfkeras.training.run_folder import CHECKPOINTS, SUMMARY_FILE

_GROUP_FEATURE = "group_feature"
# The output that each representation is.
_OUTPUTS = {"both": "embedding", "instance": "instance", "group": "group"}
_BATCH = 64

_SCORES_FILE = "scores.json"
_FAILURE_FILE = "failure.txt"


def measure(
    model: keras.Model, scorings: Sequence[Scoring], faces: PairFaces
) -> list[dict[str, Any]]:
    """Scores a network in several ways; its images go through it once for each mode.

    `model` is a GroupFace, whose `mode` is left as it was, or a network without groups. A
    dictionary for each scoring has, all rates from 0 to 1: accuracy, accuracy_std (over folds),
    auc, eer, tar_at_far, pairs, skipped; groups_used (exp of the entropy of the groups' shares) or
    None; macs and parameters of what is exported.
    """
    trained = getattr(model, "mode", None)
    outputs: dict[str | None, dict[str, np.ndarray]] = {}
    results = []
    try:
        for scoring in scorings:
            mode = scoring.mode or trained
            if mode != getattr(model, "mode", None):
                model.mode = mode
            if mode not in outputs:
                outputs[mode] = _run(model, faces.decoded[0])
            results.append(_scored(outputs[mode], scoring, faces) | complexity(model, scoring))
    finally:
        if trained is not None:
            model.mode = trained
    return results


def complexity(model: keras.Model, scoring: Scoring) -> dict[str, int]:
    """{"macs", "parameters"} of the network that a scoring needs, for one image, without
    classifier.

    Hard counts one group's FC (`count_macs`), but all groups' parameters. Layers that the
    representation and the similarity do not need are left out: v by the cosine needs no groups at
    all.
    """
    outputs = _outputs(model)
    needed = [outputs[_OUTPUTS[scoring.representation]]]
    if scoring.similarity.group_aware:
        needed.append(outputs[_GROUP_FEATURE])
    part = keras.Model(model.inputs, needed)
    mode = (scoring.mode or model.mode) if isinstance(model, GroupFace) else None
    return {"macs": count_macs(part, mode), "parameters": part.count_params()}


def _outputs(model: keras.Model) -> dict[str, Any]:
    """The symbolic tensors of each representation, and of v̂ and the group logits."""
    if not isinstance(model, GroupFace):
        return {"embedding": model.output}
    return {**model.output, "group": model.ensemble.output}


def _run(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    runtime = KerasModelRuntime(keras.Model(model.inputs, _outputs(model)))
    parts = []
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        count = len(batch)
        if count < _BATCH:
            # One size of batch is compiled.
            batch = np.concatenate([batch, np.repeat(batch[-1:], _BATCH - count, axis=0)])
        with _networks_in_turn():
            found = runtime.run(batch.astype(np.float32))
        parts.append({name: rows[:count] for name, rows in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@contextlib.contextmanager
def _networks_in_turn() -> Iterator[None]:
    """Without TensorFlow's warning that predictions are traced anew: each is another network's."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _scored(outputs: dict[str, np.ndarray], scoring: Scoring, faces: PairFaces) -> dict[str, Any]:
    logits = outputs.get("group_logits")
    group = None if logits is None else np.argmax(logits, axis=1).astype(np.int32)
    embedding, feature = outputs[_OUTPUTS[scoring.representation]], outputs.get(_GROUP_FEATURE)
    found = FileEmbeddings(embedding, feature, group, *faces.decoded[1:])
    embedded = embed_images(lambda files: found, faces.files)
    # Found once for all networks: a long list takes longer to look up than to score.
    pairs = dataclasses.replace(faces.measured, faces=embedded)
    values = pairs.measure(scoring.similarity).to_json()
    kept = ("accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "pairs")
    return {
        **{name: values[name] for name in kept},
        "skipped": pairs.skipped,
        "groups_used": None if group is None else effective_groups(np.bincount(group)),
    }


class Run:
    """A training and its scores.

    The folder is that of `gfkeras.training.train`, without the checkpoints once it is finished, and
    `scores.json`. The lock beside it is held by the process that trains or scores; it ends with
    that process, however that ends. The recipe has the seed.
    """

    def __init__(self, folder: Path, recipe: Recipe):
        self.folder = folder
        self.recipe = recipe

    @property
    def finished(self) -> bool:
        """Whether it is trained to its end."""
        return (self.folder / SUMMARY_FILE).is_file()

    @property
    def failure(self) -> str | None:
        """Why the last attempt ended; None where it did not fail."""
        path = self.folder / _FAILURE_FILE
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @failure.setter
    def failure(self, reason: str | None) -> None:
        if reason is None:
            (self.folder / _FAILURE_FILE).unlink(missing_ok=True)
            return
        write_text(self.folder / _FAILURE_FILE, reason)

    def lock(self) -> filelock.BaseFileLock:
        """A lock for one process at a time."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.folder.with_name(f"{self.folder.name}.lock"))

    def train(self, faces: Faces | RecordSet, verbose: str | int) -> None:
        """Trains what is left of it, from the last checkpoint where there is one."""
        if not self.finished:
            # Networks of earlier runs would stay in memory, and lengthen the names of layers.
            keras.backend.clear_session()
            train(self.recipe, faces, self.folder, resume=True, verbose=verbose)
        # The recipe cannot change under a folder's name: nothing will go on from them.
        for name in (CHECKPOINTS, "best"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def score(self, scorings: Sequence[Scoring], faces: PairFaces) -> None:
        """Adds the scores that are missing."""
        missing = [each for each in scorings if self.scored(each, faces.fingerprint) is None]
        if not missing:
            return
        keras.backend.clear_session()
        found = measure(load_model(self.folder / "last"), missing, faces)
        scores = self._scores()
        for scoring, result in zip(missing, found, strict=True):
            scores[scoring.key(faces.fingerprint)] = result
        write_json(self.folder / _SCORES_FILE, scores)

    def scored(self, scoring: Scoring, pairs: str) -> dict[str, Any] | None:
        """A score on the pairs of a fingerprint; None where it is not there yet."""
        return self._scores().get(scoring.key(pairs))

    def training(self) -> dict[str, Any]:
        """Seconds, devices and the last epoch's logs of the finished training."""
        summary = parsed_json((self.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        return {key: summary[key] for key in ("epochs", "images", "seconds", "devices", "metrics")}

    def _scores(self) -> dict[str, Any]:
        path = self.folder / _SCORES_FILE
        return parsed_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
