"""Training from a recipe with `model.fit`."""

from __future__ import annotations

import contextlib
import csv
import importlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gfkeras.data import IMAGE_SIZE, FaceBatches, FaceFolder, Faces, IdentitySampler, RecordSet
from gfkeras.data.dataset import tf_dataset
from gfkeras.data.records.manifest import MANIFEST_FILE
from gfkeras.files import replacing
from gfkeras.training.build import build_augmentation, build_classifier
from gfkeras.training.callbacks import Backup, Checkpoints, DataEpoch, EpochLog, Throughput
from gfkeras.training.recipe import Recipe
from gfkeras.training.result import TrainingResult
from gfkeras.training.verification import Verification

RECIPE_FILE = "recipe.toml"
SUMMARY_FILE = "summary.json"
_RUN_FILES = (RECIPE_FILE, "log.csv", "backup", "best", "last")


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
    `best/` and `last/` (models for `gfkeras.load`), `backup/` (to resume from),
    `identities.txt`, `heldout.txt`, `skipped.csv` and `summary.json`. Since `best/` is
    chosen on the held-out identities, figures for them are to be taken from `last/`.

    Args:
        recipe: a recipe, its file, or the name of a built-in one.
        data: a folder with one folder of images per identity, which are decoded into memory;
            records that `gfkeras prepare` wrote, which are read as they are needed; or faces in
            memory.
        out: the folder of the run; must not hold another one unless `resume`.
        heldout: people to verify on while training. By default those that the records hold
            out, else the last `data.holdout_identities` of the recipe, in natural order.
        resume: go on after the last epoch that a run in `out` finished; starts from
            the beginning where there is none.
        verbose: as of `keras.Model.fit`.
        callbacks: further Keras callbacks; they see val_accuracy, val_auc and val_eer.

    Raises:
        ValueError: if the recipe, the data or the folder do not fit, or the loss stops
            being finite.

    Example:
        result = gfkeras.training.train("orl", "orl_faces", "runs/orl")
        model = gfkeras.load(result.last)
    """
    if not isinstance(recipe, Recipe):
        recipe = Recipe.read(recipe)
    out = Path(out)
    _check_out(out, resume, recipe)
    faces, heldout_faces = _faces(recipe, data, heldout)
    batch_size = recipe.training.batch_size
    if batch_size < 2:
        raise ValueError(
            "`training.batch_size` must be at least 2: batch normalisation and the groups' "
            f"expectation are taken over a batch. Received: {batch_size}"
        )
    if batch_size > len(faces):
        raise ValueError(
            f"`training.batch_size` must be at most the {len(faces)} training images. "
            f"Received: {batch_size}"
        )
    keras.utils.set_random_seed(recipe.seed)
    batches = FaceBatches(
        faces.images if isinstance(faces, Faces) else faces,
        faces.labels,
        batch_size,
        seed=recipe.seed,
        augmentation=build_augmentation(recipe),
        drop_remainder=True,
        sampler=_sampler(recipe, faces),
        workers=recipe.training.workers,
    )
    with _dtype_policy(recipe.dtype_policy):
        classifier = build_classifier(recipe, len(faces.identities), len(batches))
        _build_variables(classifier, batches)

    checkpoints = Checkpoints(out, "loss" if heldout_faces is None else "val_auc")
    backup = Backup(out / "backup", checkpoints)
    first_epoch = backup.restore(classifier) if resume else 0
    all_callbacks: list[keras.callbacks.Callback] = [
        DataEpoch(batches),
        Throughput(len(batches) * batch_size),
    ]
    if heldout_faces is not None:
        settings = recipe.evaluation
        all_callbacks.append(Verification(heldout_faces, settings.pairs, settings.every_epochs))
    notes: list[str] = []
    all_callbacks += [checkpoints, EpochLog(out / "log.csv", first_epoch)]
    all_callbacks += _tensorboard(out, notes)
    all_callbacks.append(keras.callbacks.TerminateOnNaN())
    if recipe.training.patience is not None:
        all_callbacks.append(
            keras.callbacks.EarlyStopping(
                checkpoints.monitor,
                mode="min" if checkpoints.monitor == "loss" else "max",
                # Verified every few epochs only, so patience counts verifications.
                patience=recipe.training.patience,
            )
        )
    all_callbacks += [backup, *callbacks]

    # The folder is made only now that everything the user gave has been accepted.
    _write_inputs(out, recipe, faces, heldout_faces)
    started = time.perf_counter()
    logs: dict[str, Any] = {}
    done = first_epoch
    if first_epoch < recipe.training.epochs:
        history = classifier.fit(
            *_input(batches, recipe.training.epochs, first_epoch),
            epochs=recipe.training.epochs,
            initial_epoch=first_epoch,
            callbacks=all_callbacks,
            verbose=verbose,
            steps_per_epoch=len(batches),
            # Keras would shuffle the order of the batches by a generator that no resume restores.
            shuffle=False,
        )
        _add_skipped(out, batches.skipped)
        logs = {key: float(values[-1]) for key, values in history.history.items() if values}
        done = first_epoch + len(history.epoch)
        _require_finite(classifier, logs, done, out)
        speeds = history.history.get("images_per_second", [])
    else:
        notes.append(f"All {first_epoch} epochs were done already: nothing to resume.")
        speeds = []
    result = TrainingResult(
        out=out,
        best=out / "best",
        last=out / "last",
        epochs=done,
        best_epoch=checkpoints.best_epoch,
        monitor=checkpoints.monitor,
        best_value=checkpoints.best,
        images=len(faces),
        identities=len(faces.identities),
        heldout_images=0 if heldout_faces is None else len(heldout_faces),
        heldout_identities=0 if heldout_faces is None else len(heldout_faces.identities),
        skipped=len(faces.skipped)
        + len(batches.skipped)
        + (0 if heldout_faces is None else len(heldout_faces.skipped)),
        parameters=classifier.model.count_params(),
        seconds=time.perf_counter() - started,
        images_per_second=float(np.median(speeds[1:] or speeds)) if speeds else None,
        metrics=logs,
        notes=notes,
    )
    with replacing(out / SUMMARY_FILE) as temporary:
        temporary.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    return result


def _check_out(out: Path, resume: bool, recipe: Recipe) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"`out` must be a folder. Received: {str(out)!r}, which is a file")
    if not resume:
        found = next((name for name in _RUN_FILES if (out / name).exists()), None)
        if found:
            raise ValueError(
                f"`out` already holds a run ({found}); give resume (--resume) to go on with it, or "
                f"another folder. Received: out={str(out)!r}"
            )
    elif (out / RECIPE_FILE).is_file():
        earlier = Recipe.read(out / RECIPE_FILE)
        for section in ("model", "head", "optimizer", "dtype_policy"):
            before, now = getattr(earlier, section), getattr(recipe, section)
            if before != now:
                raise ValueError(
                    f"The run in {str(out)!r} cannot be resumed with another [{section}]: it was "
                    f"started with {before!r}. Received: {now!r}"
                )


def _faces(
    recipe: Recipe,
    data: str | os.PathLike[str] | FaceFolder | Faces | RecordSet,
    heldout: FaceFolder | Faces | None,
) -> tuple[Faces | RecordSet, Faces | None]:
    """The faces to train on, and those to verify on, decoded."""
    section = recipe.data
    if isinstance(data, (str, os.PathLike)):
        data = (
            RecordSet(data)
            if (Path(data) / MANIFEST_FILE).is_file()
            else FaceFolder(data, min_images=section.min_images)
        )
    if isinstance(data, RecordSet):
        return _records(recipe, data, heldout)
    loaded_holdout: FaceFolder | Faces | None = heldout
    skipped: list[tuple[Path, str]] = []
    if heldout is None and section.holdout_identities:
        whole = data
        data, loaded_holdout = whole.split(section.holdout_identities)
        # Said once, of the whole folder: each part would repeat what lies beside its folders.
        skipped = list(whole.skipped)
        for part in (data, loaded_holdout):
            part.skipped = []
    faces = data.load() if isinstance(data, FaceFolder) else data
    faces.skipped = skipped + faces.skipped
    faces.require_trainable()
    if isinstance(loaded_holdout, FaceFolder):
        loaded_holdout = loaded_holdout.load()
    return faces, loaded_holdout


def _records(
    recipe: Recipe, data: RecordSet, heldout: FaceFolder | Faces | None
) -> tuple[RecordSet, Faces | None]:
    """The records to train on, not decoded, and the faces to verify on."""
    if data.image_size != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(
            f"`data` must be records of {IMAGE_SIZE}x{IMAGE_SIZE} images, height and width. "
            "Received: {}x{}".format(*data.image_size)
        )
    verified: RecordSet | None = None
    if heldout is None and "heldout" in data.manifest.splits:
        verified = RecordSet(data.folder, "heldout")
    elif heldout is None and recipe.data.holdout_identities:
        data, verified = data.split(recipe.data.holdout_identities)
    data = data.labelled().at_least(recipe.data.min_images)
    data.require_trainable()
    if isinstance(heldout, FaceFolder):
        heldout = heldout.load()
    return data, verified.load() if verified is not None else heldout


def _sampler(recipe: Recipe, faces: Faces | RecordSet) -> IdentitySampler | None:
    """What draws the batches by identity, where the recipe asks for that."""
    images = recipe.training.images_per_identity
    if images is None:
        return None
    wanted, present = recipe.training.batch_size // images, len(np.unique(faces.labels))
    if wanted > present:
        raise ValueError(
            "`training.batch_size` / `training.images_per_identity` must be at most the "
            f"{present} training identities. Received: {recipe.training.batch_size} / {images} = "
            f"{wanted}"
        )
    return IdentitySampler(faces.labels, wanted, images, seed=recipe.seed)


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _input(batches: FaceBatches, epochs: int, first_epoch: int) -> tuple[Any]:
    """What `fit` reads: decoding runs ahead in tf.data where TensorFlow is the backend."""
    if isinstance(batches.images, RecordSet) and keras.backend.backend() == "tensorflow":
        return (tf_dataset(batches, epochs, first_step=first_epoch * len(batches)),)
    return (batches,)


def _build_variables(classifier: keras.Model, batches: FaceBatches) -> None:
    """Makes every variable of model and optimizer, so that a kept state can be put into them."""
    if not classifier.built:
        images, labels = batches.batch(0, 0)
        classifier((images[:2], labels[:2]))
    if not classifier.optimizer.built:
        classifier.optimizer.build(classifier.trainable_variables)


def _tensorboard(out: Path, notes: list[str]) -> list[keras.callbacks.Callback]:
    # Keras' callback writes through tf.summary.
    try:
        importlib.import_module("tensorflow")
    except ImportError:
        notes.append(
            "No tensorboard/ was written: that needs TensorFlow, which cannot be imported."
        )
        return []
    return [keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False)]


def _write_inputs(
    out: Path, recipe: Recipe, faces: Faces | RecordSet, heldout: Faces | None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    recipe.write(out / RECIPE_FILE)
    _write_lines(out / "identities.txt", faces.identities)
    _write_lines(out / "heldout.txt", heldout.identities if heldout is not None else [])
    skipped = faces.skipped + (heldout.skipped if heldout is not None else [])
    with (out / "skipped.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "reason"])
        writer.writerows([str(path), reason] for path, reason in skipped)


def _add_skipped(out: Path, skipped: dict[Path, str]) -> None:
    """What turned out to be unreadable while training."""
    with (out / "skipped.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([str(path), reason] for path, reason in skipped.items())


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _require_finite(classifier: keras.Model, logs: dict[str, Any], epochs: int, out: Path) -> None:
    if math.isfinite(logs.get("loss", 0.0)):
        return
    rate = float(np.asarray(classifier.optimizer.learning_rate))
    kept = out / "last"
    where = f"the last good model is {kept}" if kept.is_dir() else "no epoch was finished"
    raise ValueError(
        f"The loss stopped being finite in epoch {epochs}, step "
        f"{int(classifier.optimizer.iterations)}, at learning rate {rate:.3g}; {where}. "
        "Try a lower optimizer.learning_rate, a longer schedule.warmup_epochs or an "
        "optimizer.clipnorm."
    )
