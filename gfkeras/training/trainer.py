"""Training from a recipe with `model.fit`."""

import contextlib
import dataclasses
import gc
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data import FaceBatches, FaceFolder, Faces, RecordSet
from gfkeras.files import replacing
from gfkeras.models import FaceClassifier
from gfkeras.text_lists import lines, unquoted
from gfkeras.training import run_folder, stages
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
from gfkeras.training.offline_mining import OfflineMining, batch_embedder, build_mining
from gfkeras.training.recipe import Recipe
from gfkeras.training.run_folder import TrainingResult
from gfkeras.training.schedules import build_schedule
from gfkeras.training.starting import Start
from gfkeras.training.step_checkpoints import StepCheckpoints
from gfkeras.training.training_data import build_batches, load_faces, require_size


def train(
    recipe: Recipe | str | os.PathLike[str],
    data: str | os.PathLike[str] | FaceFolder | Faces | RecordSet,
    out: str | os.PathLike[str],
    *,
    heldout: FaceFolder | Faces | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_stage: Callable[[str, int, int], None] | None = None,
) -> TrainingResult:
    """Trains a model from a recipe and writes all results into one folder.

    The folder contains `recipe.toml` (with all defaults), `log.csv`, `tensorboard/`, `best/` and
    `last/` (models for `gfkeras.load`), `checkpoints/` (for resuming), `identities.txt`,
    `heldout.txt`, `skipped.csv` and `summary.json`. `best/` is chosen by the results on the
    held-out identities, so report results on these identities for `last/`.

    A recipe with stages trains them in order. The last one writes these files, and the others write
    theirs into `stages/NAME/`. Each starts with the weights of the stage before it.

    To train on several workers, call this function with the same arguments in each worker. All
    workers must share the folder `out`, and the first one writes it.

    Args:
        recipe: a recipe, its file, or the name of a built-in recipe.
        data: a folder with one folder of images per identity (decoded into memory), a folder of
            records from `gfkeras prepare` (read when they are needed), or faces in memory.
        out: the folder of the run. It must not contain another run unless `resume` is true.
        heldout: identities for verification during training. The default is the held-out part of
            the records, or the last `data.holdout_identities` of the recipe in natural order.
        resume: whether to continue from the last intact checkpoint in `out`. The number of replicas
            can differ. Without a checkpoint, training starts from the beginning. Finished stages
            are not trained again. If the checkpoint is within an epoch, `fit` is first called for
            the rest of that epoch and then for the others. Callbacks then see the start and the end
            of a training twice.
        verbose: see `keras.Model.fit`.
        callbacks: further Keras callbacks. Their logs include val_accuracy, val_auc and val_eer.
        on_stage: called with the name, the number (from 1) and the count of stages at each start.

    Returns:
        The result of the last stage.

    Raises:
        ValueError: if the recipe, the data, the devices or the folder do not fit, if another
            training writes the folder, or if the loss is not finite.
        ConnectionError: if another worker is lost.
        OSError: if the disk is full.

    Example:
        result = gfkeras.training.train("orl", "orl_faces", "runs/orl")
        model = gfkeras.load(result.last)
    """
    if not isinstance(recipe, Recipe):
        recipe = Recipe.read(recipe)
    out = Path(out)
    # This must come first, because TensorFlow can only set up workers before any other use.
    distribution = open_distribution(recipe.training)
    runs = stages.stage_runs(recipe, out)
    with contextlib.ExitStack() as stack:
        # Other workers share the folder and only read it.
        if distribution.is_chief:
            stages.check_folders(runs, resume)
            stack.enter_context(run_folder.only_training(out))
            # The folder is checked again under the lock, because another training could have ended
            # in it between the first check and the lock.
            stages.check_folders(runs, resume)
        notes: list[str] = []
        for number, (folder, stage) in enumerate(runs, 1):
            if note := stages.finished_note(folder, stage, out):
                notes.append(note)
                continue
            if on_stage is not None and len(runs) > 1:
                on_stage(recipe.stage[number - 1].name, number, len(runs))
            if number > 1:
                # The first worker may still be writing the model that this stage starts from.
                distribution.require_equal("finished stages", number - 1)
            whole = recipe if number < len(runs) else None
            result = _trained(
                stage, data, folder, heldout, distribution, resume, verbose, callbacks, notes, whole
            )
            # A model and its compiled functions refer to each other.
            gc.collect()
        return result


def _trained(
    recipe: Recipe,
    data: str | os.PathLike[str] | FaceFolder | Faces | RecordSet,
    out: Path,
    heldout: FaceFolder | Faces | None,
    distribution: Distribution,
    resume: bool,
    verbose: str | int,
    callbacks: Sequence[keras.callbacks.Callback],
    notes: list[str],
    staged: Recipe | None,
) -> TrainingResult:
    """Trains one stage, after checking all stages of `staged`."""
    faces, heldout_faces, whole = load_faces(recipe.data, data, heldout, recipe.seed)
    if staged is not None:
        stages.check_stages(staged, faces, whole, distribution.num_replicas)
    augmentation = build_augmentation(recipe.data, recipe.augmentation)
    replicas = distribution.num_replicas
    mining = build_mining(recipe, faces, out, replicas)
    batches = build_batches(
        recipe.training, faces, augmentation, recipe.seed, replicas,
        recipe.optimizer.accumulate_steps, None if recipe.data.amount is None else whole, mining,
    )  # fmt: skip
    if steps := recipe.training.steps:
        recipe = recipe.model_copy(deep=True)
        recipe.training.epochs = max(1, round(steps / len(batches)))
    checkpoints = StepCheckpoints(out / run_folder.CHECKPOINTS)
    try:
        with distribution.scope():
            keras.utils.set_random_seed(recipe.seed)
            run = _Run(
                recipe, out, distribution, batches, faces, heldout_faces, checkpoints, notes, mining
            )
            if resume:
                run.restore()
            return run.fit(verbose, callbacks)
    except Exception as error:
        cause = distribution.lost_worker(error)
        if cause is None:
            raise
        advice = "There is no checkpoint yet: start all workers again"
        if newest := checkpoints.newest():
            advice = f"Start all workers again with resume (--resume) to continue from {newest}"
        raise ConnectionError(f"Another worker was lost: {cause}. {advice}") from error


@dataclasses.dataclass
class _Run:
    """A classifier with its data and callbacks.

    It is created, restored and trained within the scope of the distribution.
    """

    recipe: Recipe
    out: Path
    distribution: Distribution
    batches: FaceBatches
    faces: Faces | RecordSet
    heldout: Faces | None
    checkpoints: StepCheckpoints
    earlier_notes: list[str]
    mining: OfflineMining | None = None

    def __post_init__(self) -> None:
        recipe, out, batches, faces = self.recipe, self.out, self.batches, self.faces
        self.notes = [*self.earlier_notes, *run_folder.notes_on_images(faces, self.heldout)]
        self.first_step = 0
        starts: list[Start] = []
        with dtype_policy(recipe.dtype_policy):
            self.classifier = build_classifier(recipe, len(faces.identities), len(batches), starts)
        self.notes += [f"{start.note()} {self._take_centers(start)}".strip() for start in starts]
        if self.classifier.head is not None:
            self.notes += self.classifier.head.bound_warnings()
        require_size(self.classifier.model, batches)
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

    def _take_centers(self, start: Start) -> str:
        """Takes the class centers of the run in `start.init` if they fit. Returns a note."""
        head, run = self.classifier.head, Path(start.init)
        if head is None or not (run / run_folder.RECIPE_FILE).is_file():
            return ""
        try:
            earlier, identities = load_classifier(run)
            centers = np.asarray(earlier.head.centers)
        except (ValueError, AttributeError):
            # The run has no checkpoint any more, or no head.
            return "The class centers start fresh."
        same = identities == list(self.faces.identities) and start.same_embedding
        if not same or centers.shape != tuple(head.centers.shape):
            return "The class centers start fresh."
        head.centers.assign(centers)
        return "The class centers are taken too."

    def restore(self) -> None:
        """Restores the last intact checkpoint, if there is one."""
        if self.distribution.is_chief:
            self.checkpoints.remove_unfinished()
        checkpoint, damaged = self.checkpoints.load()
        self.notes += damaged
        if checkpoint is not None:
            self.first_step = self.backup.restore(self.classifier, checkpoint)
        # Workers that do not share a folder would resume from different steps.
        self.distribution.require_equal("steps to resume from", self.first_step)
        if damaged and checkpoint is not None:
            self.notes.append(f"Resumed from {checkpoint.folder}.")

    def fit(
        self, verbose: str | int, callbacks: Sequence[keras.callbacks.Callback]
    ) -> TrainingResult:
        """Trains the remaining steps, writes all files and returns the result."""
        recipe, out, steps = self.recipe, self.out, len(self.batches)
        first_epoch, within = divmod(self.first_step, steps)
        rate, epochs = recipe.optimizer.learning_rate, recipe.training.epochs
        schedule = build_schedule(recipe.schedule, rate, epochs, steps)
        finite = FiniteLoss(self.checkpoints, schedule)
        all_callbacks = [*self._callbacks(first_epoch, finite), *callbacks]
        # Files are written only after all arguments were accepted.
        if self.distribution.is_chief:
            run_folder.write_inputs(out, recipe, self.faces, self.heldout)
        started = time.perf_counter()
        histories = []
        ended = self.patience is not None and self.patience.stopped
        # A run that resumes within an epoch first calls `fit` for the rest of that epoch.
        spans = [(first_epoch, first_epoch + 1, steps - within)] if within else []
        whole = range(first_epoch + bool(within), epochs)
        if self.mining is None:
            spans.append((whole.start, epochs, steps))
        else:
            # Triplets are mined between two calls of `fit`, when no data is read ahead.
            spans += [(epoch, epoch + 1, steps) for epoch in whole]
        step = self.first_step
        for begin, end, span_steps in spans:
            if begin >= end or ended:
                continue
            if self.mining is not None:
                model = self.classifier.model
                self.mining.prepare(begin, batch_embedder(self.batches, model))
            history = self.classifier.fit(
                self.distribution.dataset(self.batches, end, step),
                epochs=end,
                initial_epoch=begin,
                steps_per_epoch=span_steps,
                callbacks=all_callbacks,
                verbose=verbose if self.distribution.is_chief else 0,
                # Keras would shuffle with a random generator that a resumed run cannot restore.
                shuffle=False,
            )
            histories.append(history)
            ended = bool(self.classifier.stop_training)
            step = end * steps
        if not histories:
            reason = "were ended early" if ended else "were done already"
            self.notes.append(f"All {first_epoch} epochs {reason}: nothing to resume.")
        if finite.skipped:
            self.notes.append(f"{finite.skipped} steps were skipped because they were not finite.")
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
        # The order matters. `Throughput` and `Verification` add to the logs that later callbacks
        # read, and `StepBackup` must save the state after all others have changed it.
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
        # The first epoch is slower, because it includes tracing and compilation. It counts only if
        # there is no other.
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
    # The callback of Keras writes with tf.summary on every backend.
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        notes.append(
            "No tensorboard/ was written because it needs TensorFlow, which cannot be imported."
        )
        return []
    return [keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False)]


def load_classifier(run: str | os.PathLike[str]) -> tuple[FaceClassifier, list[str]]:
    """Loads model, head and losses of a run of `train`, and the identities of the head's centers.

    They are read from the last intact checkpoint in the folder of the run.

    Raises:
        ValueError: if the folder has no run or no intact checkpoint, or if the checkpoint belongs
            to another recipe.
    """
    run = Path(run)
    recipe_file, names = run / run_folder.RECIPE_FILE, run / run_folder.IDENTITIES_FILE
    for path in (recipe_file, names):
        if not path.is_file():
            raise ValueError(
                "`run` must be the folder of a run of `gfkeras train`. "
                f"Received: run={str(run)!r}, which has no {path.name}"
            )
    recipe = run_folder.read_recipe(run)
    identities = [unquoted(line.strip()) for _, line in lines(names)]
    checkpoint, _ = StepCheckpoints(run / run_folder.CHECKPOINTS).load()
    if checkpoint is None:
        raise ValueError(
            f"`run` must hold a checkpoint, which is written after each epoch. "
            f"Received: run={str(run)!r}, whose folder {run_folder.CHECKPOINTS}/ has no checkpoint"
        )
    with dtype_policy(recipe.dtype_policy):
        # The number of steps per epoch affects only the learning rate, which is not needed here.
        classifier = build_classifier(recipe, len(identities), steps_per_epoch=1)
    restore_variables(classifier, checkpoint)
    return classifier, identities
