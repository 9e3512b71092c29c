"""Training from a recipe with `model.fit`."""

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data import FaceBatches, FaceFolder, Faces, RecordSet
from gfkeras.files import replacing
from gfkeras.models import FaceClassifier
from gfkeras.text_lists import lines, unquoted
from gfkeras.training import run_folder
from gfkeras.training.build import build_augmentation, build_classifier, dtype_policy
from gfkeras.training.callbacks import (
    DataEpoch,
    EpochLog,
    FiniteLoss,
    KeptModels,
    Patience,
    StepBackup,
    Throughput,
    Verification,
)
from gfkeras.training.callbacks.step_backup import restore_variables
from gfkeras.training.distribution import Distribution, open_distribution
from gfkeras.training.recipe import Recipe
from gfkeras.training.run_folder import TrainingResult
from gfkeras.training.schedules import build_schedule
from gfkeras.training.step_checkpoints import StepCheckpoints
from gfkeras.training.training_data import build_batches, load_faces


def train(
    recipe: Recipe | str | os.PathLike[str],
    data: str | os.PathLike[str] | FaceFolder | Faces | RecordSet,
    out: str | os.PathLike[str],
    *,
    heldout: FaceFolder | Faces | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainingResult:
    """Trains what a recipe describes and keeps everything in one folder.

    The folder holds `recipe.toml` (every default written out), `log.csv`, `tensorboard/`,
    `best/` and `last/` (models for `gfkeras.load`), `checkpoints/` (to resume from),
    `identities.txt`, `heldout.txt`, `skipped.csv` and `summary.json`. Since `best/` is
    chosen on the held-out identities, figures for them are to be taken from `last/`.

    On several workers each runs this with the same arguments, `out` being a folder that all of
    them share; the first worker writes it.

    Args:
        recipe: a recipe, its file, or the name of a built-in one.
        data: a folder with one folder of images per identity, which are decoded into memory;
            records that `gfkeras prepare` wrote, which are read as they are needed; or faces in
            memory.
        out: the folder of the run; must not hold another one unless `resume`.
        heldout: people to verify on while training. By default those that the records hold
            out, else the last `data.holdout_identities` of the recipe, in natural order.
        resume: go on from the last whole checkpoint of a run in `out`, on any number of
            replicas; starts from the beginning where there is none. Where that lies within an
            epoch, `fit` is called for the rest of it first and then for the others, and
            callbacks see a training begin and end twice.
        verbose: as of `keras.Model.fit`.
        callbacks: further Keras callbacks; they see val_accuracy, val_auc and val_eer.

    Raises:
        ValueError: if the recipe, the data, the devices or the folder do not fit, another training
            writes the folder, or the loss stops being finite.
        ConnectionError: if another worker is lost.
        OSError: if the disk is full.

    Example:
        result = gfkeras.training.train("orl", "orl_faces", "runs/orl")
        model = gfkeras.load(result.last)
    """
    if not isinstance(recipe, Recipe):
        recipe = Recipe.read(recipe)
    out = Path(out)
    # First of all: TensorFlow's workers must be set up before anything else is done with it.
    distribution = open_distribution(recipe.training)
    with contextlib.ExitStack() as stack:
        if distribution.is_chief:
            run_folder.check_folder(out, resume, recipe)
            stack.enter_context(run_folder.only_training(out))
            # Another training may have ended meanwhile.
            run_folder.check_folder(out, resume, recipe)
        return _trained(recipe, data, out, heldout, distribution, resume, verbose, callbacks)


def _trained(
    recipe: Recipe,
    data: str | os.PathLike[str] | FaceFolder | Faces | RecordSet,
    out: Path,
    heldout: FaceFolder | Faces | None,
    distribution: Distribution,
    resume: bool,
    verbose: str | int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> TrainingResult:
    faces, heldout_faces = load_faces(recipe.data, data, heldout)
    augmentation = build_augmentation(recipe.data, recipe.augmentation)
    replicas = distribution.num_replicas
    batches = build_batches(recipe.training, faces, augmentation, recipe.seed, replicas)
    checkpoints = StepCheckpoints(out / run_folder.CHECKPOINTS)
    try:
        with distribution.scope():
            keras.utils.set_random_seed(recipe.seed)
            run = _Run(recipe, out, distribution, batches, faces, heldout_faces, checkpoints)
            if resume:
                run.restore()
            return run.fit(verbose, callbacks)
    except Exception as error:
        cause = distribution.lost_worker(error)
        if cause is None:
            raise
        advice = "There is no checkpoint yet: start all workers again"
        if newest := checkpoints.newest():
            advice = f"Start all workers again with resume (--resume), to go on from {newest}"
        raise ConnectionError(f"Another worker was lost: {cause}. {advice}") from error


@dataclasses.dataclass
class _Run:
    """A classifier with its data and callbacks, on its devices.

    Made, restored and fitted within the scope of the distribution.
    """

    recipe: Recipe
    out: Path
    distribution: Distribution
    batches: FaceBatches
    faces: Faces | RecordSet
    heldout: Faces | None
    checkpoints: StepCheckpoints

    def __post_init__(self) -> None:
        recipe, out, batches, faces = self.recipe, self.out, self.batches, self.faces
        self.notes: list[str] = run_folder.notes_on_images(faces, self.heldout)
        self.first_step = 0
        with dtype_policy(recipe.dtype_policy):
            self.classifier = build_classifier(recipe, len(faces.identities), len(batches))
        monitor = "loss" if self.heldout is None else "val_auc"
        self.kept_models = KeptModels(out, monitor, self.checkpoints)
        patience = recipe.training.patience
        self.patience = None if patience is None else Patience(monitor, patience)
        self.backup = StepBackup(
            self.checkpoints,
            every_steps=recipe.training.checkpoint_steps,
            steps_per_epoch=len(batches),
            batch_size=batches.batch_size,
            images=len(faces),
            kept_models=self.kept_models,
            patience=self.patience,
            writes=self.distribution.is_chief,
        )

    def restore(self) -> None:
        """Goes on from the last whole checkpoint, where there is one."""
        if self.distribution.is_chief:
            self.checkpoints.remove_unfinished()
        checkpoint, damaged = self.checkpoints.load()
        self.notes += damaged
        if checkpoint is not None:
            self.first_step = self.backup.restore(self.classifier, checkpoint)
        self.distribution.require_equal("steps to resume from", self.first_step)
        if damaged and checkpoint is not None:
            self.notes.append(f"Resumed from {checkpoint.folder}.")

    def fit(
        self, verbose: str | int, callbacks: Sequence[keras.callbacks.Callback]
    ) -> TrainingResult:
        """Trains what is left, keeps everything and says what came of it."""
        recipe, out, steps = self.recipe, self.out, len(self.batches)
        first_epoch, within = divmod(self.first_step, steps)
        rate, epochs = recipe.optimizer.learning_rate, recipe.training.epochs
        schedule = build_schedule(recipe.schedule, rate, epochs, steps)
        finite = FiniteLoss(self.checkpoints, schedule)
        all_callbacks = [*self._callbacks(first_epoch, finite), *callbacks]
        # The folder is made only now that everything the user gave has been accepted.
        if self.distribution.is_chief:
            run_folder.write_inputs(out, recipe, self.faces, self.heldout)
        started = time.perf_counter()
        histories = []
        ended = self.patience is not None and self.patience.stopped
        spans = [(first_epoch, first_epoch + 1, steps - within)] if within else []
        spans.append((first_epoch + bool(within), epochs, steps))
        step = self.first_step
        for begin, end, span_steps in spans:
            if begin >= end or ended:
                continue
            history = self.classifier.fit(
                self.distribution.dataset(self.batches, end, step),
                epochs=end,
                initial_epoch=begin,
                steps_per_epoch=span_steps,
                callbacks=all_callbacks,
                verbose=verbose if self.distribution.is_chief else 0,
                # Keras would shuffle the batches by a generator that no resume restores.
                shuffle=False,
            )
            histories.append(history)
            ended = bool(self.classifier.stop_training)
            step = end * steps
        if not histories:
            reason = "were ended early" if ended else "were done already"
            self.notes.append(f"All {first_epoch} epochs {reason}: nothing to resume.")
        if finite.skipped:
            self.notes.append(f"{finite.skipped} steps were skipped since they were not finite.")
        if self.distribution.is_chief and self.batches.skipped:
            run_folder.add_skipped(out, self.batches.skipped)
        result = self._result(first_epoch, histories, time.perf_counter() - started)
        if self.distribution.is_chief:
            with replacing(out / run_folder.SUMMARY_FILE) as temporary:
                temporary.write_text(json.dumps(result.to_json(), indent=1) + "\n", "utf-8")
        return result

    def _callbacks(self, first_epoch: int, finite: FiniteLoss) -> list[keras.callbacks.Callback]:
        recipe = self.recipe
        speed = Throughput(self.batches.batch_size)
        found: list[keras.callbacks.Callback] = [DataEpoch(self.batches), finite, speed]
        if self.heldout is not None:
            pairs, every = recipe.evaluation.pairs, recipe.evaluation.every_epochs
            last = recipe.training.epochs
            found.append(Verification(self.heldout, pairs, every, last_epoch=last))
        if self.distribution.is_chief:
            log = EpochLog(self.out / run_folder.LOG_FILE, first_epoch)
            found += [self.kept_models, log, *_tensorboard(self.out, self.notes)]
        if self.patience is not None:
            found.append(self.patience)
        return [*found, self.backup]

    def _result(self, first_epoch: int, histories: list[Any], seconds: float) -> TrainingResult:
        epochs = [epoch for history in histories for epoch in history.epoch]
        speeds: list[float] = []
        for history in histories:
            speeds += history.history.get("images_per_second", [])
        logs = histories[-1].history if histories else {}
        faces, heldout = self.faces, self.heldout
        skipped = [self.batches.skipped, faces.skipped, [] if heldout is None else heldout.skipped]
        return TrainingResult(
            out=self.out,
            best=self.out / "best",
            last=self.out / "last",
            epochs=epochs[-1] + 1 if epochs else first_epoch,
            best_epoch=self.kept_models.best_epoch,
            monitor=self.kept_models.monitor,
            best_value=self.kept_models.best,
            images=len(faces),
            identities=len(faces.identities),
            heldout_images=0 if heldout is None else len(heldout),
            heldout_identities=0 if heldout is None else len(heldout.identities),
            skipped=sum(map(len, skipped)),
            parameters=self.classifier.model.count_params(),
            devices=self.distribution.describe(),
            seconds=seconds,
            images_per_second=float(np.median(speeds[1:] or speeds)) if speeds else None,
            metrics={key: float(values[-1]) for key, values in logs.items() if values},
            notes=self.notes,
        )


def _tensorboard(out: Path, notes: list[str]) -> list[keras.callbacks.Callback]:
    # Keras' callback writes through tf.summary.
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        notes.append(
            "No tensorboard/ was written: that needs TensorFlow, which cannot be imported."
        )
        return []
    return [keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False)]


def load_classifier(run: str | os.PathLike[str]) -> tuple[FaceClassifier, list[str]]:
    """Model, head and losses of a run of `train`, and the identities of the head's centers.

    They come from the last whole checkpoint in the folder of the run.

    Raises:
        ValueError: if the folder holds no run or no whole checkpoint, or the checkpoint is of
            another recipe.
    """
    run = Path(run)
    recipe_file, names = run / run_folder.RECIPE_FILE, run / run_folder.IDENTITIES_FILE
    for path in (recipe_file, names):
        if not path.is_file():
            raise ValueError(
                "`run` must be the folder of a run of `gfkeras train`. "
                f"Received: run={str(run)!r}, which has no {path.name}"
            )
    recipe = Recipe.read(recipe_file)
    identities = [unquoted(line.strip()) for _, line in lines(names)]
    checkpoint, _ = StepCheckpoints(run / run_folder.CHECKPOINTS).load()
    if checkpoint is None:
        raise ValueError(
            f"`run` must hold a checkpoint, which is written after each epoch. "
            f"Received: run={str(run)!r}, which has none in {run_folder.CHECKPOINTS}/"
        )
    with dtype_policy(recipe.dtype_policy):
        # How long an epoch is only sets the learning rate.
        classifier = build_classifier(recipe, len(identities), steps_per_epoch=1)
    restore_variables(classifier, checkpoint)
    return classifier, identities
