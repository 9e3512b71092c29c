"""One training of an ablation with one seed, in a folder of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import keras

from gfkeras.data import Faces, RecordSet
from gfkeras.experiments.ablation.measuring import measure
from gfkeras.experiments.ablation.pair_faces import PairFaces
from gfkeras.experiments.ablation.scoring import Scoring
from gfkeras.files import replacing
from gfkeras.saving import load_model
from gfkeras.training import Recipe, train
from gfkeras.training.run_folder import CHECKPOINTS, SUMMARY_FILE

_SCORES_FILE = "scores.json"
_FAILURE_FILE = "failure.txt"


class Run:
    """A training and its scores.

    The folder is that of `gfkeras.training.train`, without the checkpoints once it is finished,
    and `scores.json`. The lock beside it is held by the process that trains or scores; it
    ends with that process, however that ends.

    Args:
        folder: of this training and seed alone.
        recipe: with the seed.
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
        with replacing(self.folder / _FAILURE_FILE) as temporary:
            temporary.write_text(reason, encoding="utf-8")

    def lock(self) -> filelock.BaseFileLock:
        """For one process at a time."""
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
        with replacing(self.folder / _SCORES_FILE) as temporary:
            temporary.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")

    def scored(self, scoring: Scoring, pairs: str) -> dict[str, Any] | None:
        """A score on the pairs of a fingerprint; None where it is not there yet."""
        return self._scores().get(scoring.key(pairs))

    def training(self) -> dict[str, Any]:
        """How the finished training went: seconds, devices, and the logs of its last epoch."""
        summary = json.loads((self.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        return {key: summary[key] for key in ("epochs", "images", "seconds", "devices", "metrics")}

    def _scores(self) -> dict[str, Any]:
        path = self.folder / _SCORES_FILE
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
