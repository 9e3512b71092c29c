"""One training of an ablation with one seed, and its scores."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import keras
import numpy as np

from gfkeras.backend import networks_in_turn
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
from gfkeras.training.run_folder import CHECKPOINTS, STAGES, SUMMARY_FILE

_GROUP_FEATURE = "group_feature"
# The output for each representation.
_OUTPUTS = {"both": "embedding", "instance": "instance", "group": "group"}
_BATCH = 64

_SCORES_FILE = "scores.json"
_FAILURE_FILE = "failure.txt"


def measure(
    model: keras.Model, scorings: Sequence[Scoring], faces: PairFaces
) -> list[dict[str, Any]]:
    """Scores a model in several ways. Its images pass through it once for each mode.

    `model` is a GroupFace or a network without groups. Its `mode` is restored afterwards. Returns
    one dictionary for each scoring, with all rates from 0 to 1: accuracy, accuracy_std (over
    folds), auc, eer, tar_at_far, pairs, skipped, groups_used (exp of the entropy of the groups'
    shares, or None), and macs and parameters of the exported network.
    """
    # Change the mode of the given model instead of loading it again for each scoring.
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
        # Only a GroupFace has a mode to restore.
        if trained is not None:
            model.mode = trained
    return results


def complexity(model: keras.Model, scoring: Scoring) -> dict[str, int]:
    """Returns {"macs", "parameters"} for one image, without the classifier.

    Only the layers that the representation and the similarity need are counted. For example, v by
    the cosine needs no groups. In hard mode the MACs count the FC of one group (`count_macs`), but
    the parameters count all groups.
    """
    outputs = _outputs(model)
    needed = [outputs[_OUTPUTS[scoring.representation]]]
    if scoring.similarity.group_aware:
        needed.append(outputs[_GROUP_FEATURE])
    part = keras.Model(model.inputs, needed)
    mode = (scoring.mode or model.mode) if isinstance(model, GroupFace) else None
    return {"macs": count_macs(part, mode), "parameters": part.count_params()}


def _outputs(model: keras.Model) -> dict[str, Any]:
    """Returns the symbolic tensors of each representation, of v̂ and of the group logits."""
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
            # Fill up the last batch, because every new batch size would be compiled again.
            batch = np.concatenate([batch, np.repeat(batch[-1:], _BATCH - count, axis=0)])
        with networks_in_turn():
            found = runtime.run(batch.astype(np.float32))
        parts.append({name: rows[:count] for name, rows in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _scored(outputs: dict[str, np.ndarray], scoring: Scoring, faces: PairFaces) -> dict[str, Any]:
    logits = outputs.get("group_logits")
    group = None if logits is None else np.argmax(logits, axis=1).astype(np.int32)
    embedding, feature = outputs[_OUTPUTS[scoring.representation]], outputs.get(_GROUP_FEATURE)
    found = FileEmbeddings(embedding, feature, group, *faces.decoded[1:])
    embedded = embed_images(lambda files: found, faces.files)
    # Reuse the positions that `measured` found: for a long list, the look-up takes longer than
    # the scores.
    pairs = dataclasses.replace(faces.measured, faces=embedded)
    values = pairs.measure(scoring.similarity).to_json()
    kept = ("accuracy", "accuracy_std", "auc", "eer", "tar_at_far", "pairs", "impostor")
    return {
        **{name: values[name] for name in kept},
        "skipped": pairs.skipped,
        "groups_used": None if group is None else effective_groups(np.bincount(group)),
    }


class Run:
    """A training and its scores.

    The folder is the one that `gfkeras.training.train` writes, plus `scores.json`. Checkpoints are
    removed when the training is finished. The recipe includes the seed. A process holds the lock
    next to the folder while it trains or scores. The lock is released when the process ends, even
    if it is killed.
    """

    def __init__(self, folder: Path, recipe: Recipe):
        self.folder = folder
        self.recipe = recipe

    @property
    def finished(self) -> bool:
        """Whether the training is complete."""
        return (self.folder / SUMMARY_FILE).is_file()

    @property
    def failure(self) -> str | None:
        """The error of the last attempt. None if it did not fail."""
        path = self.folder / _FAILURE_FILE
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @failure.setter
    def failure(self, reason: str | None) -> None:
        if reason is None:
            (self.folder / _FAILURE_FILE).unlink(missing_ok=True)
            return
        write_text(self.folder / _FAILURE_FILE, reason)

    def lock(self) -> filelock.BaseFileLock:
        """Returns a lock that one process at a time can hold."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.folder.with_name(f"{self.folder.name}.lock"))

    def train(self, faces: Faces | RecordSet, verbose: str | int) -> None:
        """Trains to the end, from the last checkpoint if there is one."""
        if not self.finished:
            # Networks of earlier runs would stay in memory, and the names of layers would grow.
            keras.backend.clear_session()
            train(self.recipe, faces, self.folder, resume=True, verbose=verbose)
        # Checkpoints are no longer needed: a changed recipe would get another folder.
        for name in (CHECKPOINTS, STAGES, "best"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def score(self, scorings: Sequence[Scoring], faces: PairFaces) -> None:
        """Adds the missing scores."""
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
        """Returns the score on the pairs with a fingerprint. None if it does not exist yet."""
        return self._scores().get(scoring.key(pairs))

    def training(self) -> dict[str, Any]:
        """Returns sizes, seconds, devices and the last epoch's logs of the finished training."""
        summary = parsed_json((self.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        kept = ("epochs", "images", "identities", "seconds", "devices", "metrics")
        return {key: summary[key] for key in kept}

    def _scores(self) -> dict[str, Any]:
        path = self.folder / _SCORES_FILE
        return parsed_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
