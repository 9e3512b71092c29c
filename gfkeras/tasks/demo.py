"""The main job from end to end: train, evaluate, export, verify and report."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.backend import load_keras
from gfkeras.data import FaceFolder, Faces
from gfkeras.data.synthetic import write_synthetic_folder
from gfkeras.data.walk import left_out_note
from gfkeras.evaluation import PairList, all_pairs, evaluate_pairs, sample_pairs
from gfkeras.evaluation.embedded import Embed
from gfkeras.files import size_bytes, write_json
from gfkeras.inference import Embedder, Embeddings, FileEmbeddings
from gfkeras.processors import usable_processors
from gfkeras.tasks.reporting import Progress

if TYPE_CHECKING:
    import keras

    from gfkeras.training import Recipe, TrainingResult

# With more held-out images than this, pairs are drawn instead of taking all.
_MOST_FOR_ALL_PAIRS = 100
_DRAWN_PAIRS = 6000
_VERIFIED_IMAGES = 200
_EXPORTS = (
    ("SavedModel", "savedmodel", "fp32", "savedmodel"),
    ("TFLite fp32", "tflite", "fp32", "model.tflite"),
    ("TFLite fp16", "tflite", "fp16", "model-fp16.tflite"),
    ("ONNX", "onnx", "fp32", "model.onnx"),
)


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes:
        out: the folder of everything.
        results: the content of `report.json`.
    """

    out: Path
    results: dict[str, Any]

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.out / "report.html"

    @property
    def json(self) -> Path:
        """The numbers of the page."""
        return self.out / "report.json"

    @property
    def broken(self) -> list[str]:
        """The artefacts that are over their tolerance."""
        return [export["name"] for export in self.results["exports"] if not export["passed"]]

    def to_json(self) -> dict[str, Any]:
        """The content of `report.json`."""
        return self.results


def demo(
    out: str | os.PathLike[str] = "runs/demo",
    data: str | os.PathLike[str] | None = None,
    *,
    holdout: int | None = None,
    recipe: str = "demo",
    settings: Sequence[str] = (),
    people: int = 320,
    faces: int = 8,
    strength: float = 0.6,
    verbose: str | int = 0,
    command: str = "",
    progress: Progress | None = None,
) -> Demo:
    """Trains, evaluates, exports, verifies and reports.

    With `data` a quarter of the people is held out, and the epochs are chosen so that about as
    many images are seen as in the recipe on synthetic faces; `holdout` and the settings
    "data.holdout_identities" and "training.epochs" override this.

    Args:
        out: the folder for everything.
        data: a folder with one folder of faces per person; synthetic faces by default.
        holdout: how many people, the last in natural order, are held out.
        recipe: a TOML file, or the name of a built-in recipe.
        settings: changes of the recipe, such as "training.epochs=3".
        people, faces: synthetic people, and the faces of each.
        strength: how much pose, light, occlusion and camera change synthetic faces, 0 to 1.
        verbose: of `keras.Model.fit`: 0, 1 or 2.
        command: the command line, for the report.
        progress: called with (what is done next, stages done, stages).

    Returns:
        A `Demo`; `results["stages"]` has the seconds of each stage.

    Raises:
        ValueError: for a recipe or data that are missing or do not fit.

    Example:
        demo("runs/demo", "orl_faces").results["balanced_accuracy"]
    """
    clock = _Clock(progress)
    from gfkeras.training.recipe import Recipe

    out = Path(out)
    checked = Recipe.read(recipe, list(settings))
    if holdout is not None:
        checked.data.holdout_identities = holdout
    if data is not None:
        folder = FaceFolder(data, min_images=checked.data.min_images)
        if folder.skipped:
            clock.say(left_out_note(folder.skipped))
    else:
        clock.say(f"Rendering {people * faces:,} faces of {people} synthetic people")
        # The numbers are in the name, since a folder of another population is not noticed.
        root = out / f"faces-{checked.seed}-{people}x{faces}-{strength:g}"
        with clock.stage("data"):
            folder = FaceFolder(
                render_people(root, people, faces, checked.seed, strength, load_keras)
            )
    given = {setting.partition("=")[0].strip() for setting in settings}
    if data is not None and holdout is None and "data.holdout_identities" not in given:
        checked.data.holdout_identities = max(2, len(folder.identities) // 4)
    training, heldout = folder.split(checked.data.holdout_identities)
    if data is not None and "training.epochs" not in given:
        seen = checked.training.epochs * faces * people
        checked.training.epochs = max(1, round(seen / len(training)))
        # Short epochs would be spent on verification.
        checked.evaluation.every_epochs = max(1, checked.training.epochs // 8)
    source = f"synthetic, variation {strength:g} of 1" if data is None else str(data)
    with clock.stage("imports"):
        load_keras()
    made = Demo(out, _run(checked, training, heldout, out, clock, source, command, verbose))
    write_json(made.json, made.results)
    return made


def render_people(
    root: Path,
    people: int,
    images: int,
    seed: int,
    strength: float = 1.0,
    meanwhile: Callable[[], None] | None = None,
) -> Path:
    """Writes `people` folders of `images` faces each; existing files are kept.

    Args:
        root: its name should hold the numbers, since a folder of another seed is not noticed.
        people: how many identities.
        images: of each.
        seed: of the population.
        strength: how much images of a person differ, from 0 to 1.
        meanwhile: is called while other processes render.
    """
    workers = min(usable_processors(), people)
    bounds = [people * i // workers for i in range(workers + 1)]
    jobs = [
        (root, last - first, images, seed, first, strength)
        for first, last in itertools.pairwise(bounds)
    ]
    if workers == 1:
        write_synthetic_folder(*jobs[0])
        return root
    # Spawned, not forked: the parent's threads would be copied in whatever state they are in.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = [pool.submit(write_synthetic_folder, *job) for job in jobs]
        if meanwhile is not None:
            meanwhile()
        for job in running:
            job.result()
    return root


class _Clock:
    """Seconds of each stage, and what the user hears of them."""

    # Rendering, training, evaluation, the exports, the report.
    STAGES = 4 + len(_EXPORTS)

    def __init__(self, progress: Progress | None):
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self._progress, self._done = progress, 0

    def say(self, text: str) -> None:
        """Announces a stage."""
        if self._progress is not None:
            self._progress(text, self._done, self.STAGES)
        self._done += 1

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the seconds of a block to a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - begun

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.started


def _run(
    recipe: Recipe,
    training: FaceFolder,
    heldout: FaceFolder,
    out: Path,
    clock: _Clock,
    source: str,
    command: str,
    verbose: str | int,
) -> dict[str, Any]:
    import keras

    from gfkeras.saving import WEIGHTS_FILE
    from gfkeras.tasks.demo_report import write_demo_report
    from gfkeras.training.build import build_model

    clock.say(
        f"Training on {len(training):,} faces of {len(training.identities)} people, "
        f"{len(heldout.identities)} people held out"
    )
    result = _train(recipe, training, heldout, out / "training", clock, verbose)

    clock.say("Evaluating on the held-out people")
    with clock.stage("evaluation"):
        keras.utils.set_random_seed(recipe.seed)
        # One network, traced once: first as it was before the training.
        model = build_model(recipe.model)
        embedder, pairs = Embedder(model), _pairs(heldout)
        faces = heldout.load(resize=recipe.data.resize)
        untrained = evaluate_pairs(_embed(embedder(faces.images), faces), pairs)
        # The last epoch's weights: the best ones were chosen by these very people.
        model.load_weights(result.last / WEIGHTS_FILE)
        embedded = embedder(faces.images)
        trained = evaluate_pairs(_embed(embedded, faces), pairs)
    exports = _exports(model, embedded, faces.images, out, clock)
    results = trained.to_json() | {
        "untrained": untrained.to_json(),
        "training": result.to_json(),
        "exports": exports,
    }
    clock.say("Writing the report")
    with clock.stage("report"):
        results["seconds"] = clock.total
        results["stages"] = clock.seconds
        write_demo_report(
            out / "report.html",
            command=command,
            results={"Trained": trained, "Untrained": untrained},
            training=result,
            recipe=recipe,
            source=source,
            faces=faces,
            groups=embedded.group,
            exports=exports,
            seconds=results["seconds"],
            stages=clock.seconds,
        )
    return results


def _train(
    recipe: Recipe,
    training: FaceFolder,
    heldout: FaceFolder,
    run: Path,
    clock: _Clock,
    verbose: str | int,
) -> TrainingResult:
    """Trains, and splits the seconds into building, compiling, steps and ends of epochs."""
    import keras

    from gfkeras.training import train

    class Seconds(keras.callbacks.Callback):
        """Charges what passed since the last event to a stage."""

        def __init__(self) -> None:
            super().__init__()
            self.last, self.batches = time.perf_counter(), 0

        def _charge(self, stage: str) -> None:
            now = time.perf_counter()
            clock.seconds[stage] = clock.seconds.get(stage, 0) + now - self.last
            self.last = now

        def on_train_begin(self, logs: object = None) -> None:
            self._charge("building")

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self._charge("training" if self.batches else "compiling")
            self.batches += 1

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            if epoch:
                self._charge("training verification")

        def on_train_end(self, logs: object = None) -> None:
            self._charge("training verification")

    if (run / "recipe.toml").is_file():
        shutil.rmtree(run)
    return train(recipe, training, run, heldout=heldout, verbose=verbose, callbacks=[Seconds()])


def _exports(
    model: keras.Model, embedded: Embeddings, images: np.ndarray, out: Path, clock: _Clock
) -> list[dict[str, Any]]:
    """Exports in every form, and verifies each against the model's embeddings of the images."""
    from gfkeras.export import TOLERANCES, export_model, verify

    chosen = np.linspace(0, len(images) - 1, min(len(images), _VERIFIED_IMAGES)).astype(int)
    expected = embedded.take(chosen)
    exports = []
    for name, form, precision, file in _EXPORTS:
        clock.say(f"Exporting and verifying {name}")
        with clock.stage(f"export {name}"):
            path = export_model(model, out / file, format=form, precision=precision)
        with clock.stage("verification"):
            # The model embeds once, not once for each artefact.
            parity = verify(
                lambda _: expected, Embedder(path), images[chosen], batch_size=len(chosen)
            )
        exports.append(
            parity.to_json()
            | {
                "tolerance": str(TOLERANCES[precision]),
                "name": name,
                "path": str(path),
                "size_bytes": size_bytes(path),
                "summary": f"max error {parity.max_abs_error:.1e}, "
                f"min cosine {parity.min_cosine:.6f}",
            }
        )
    return exports


def _embed(embedded: Embeddings, faces: Faces) -> Embed:
    """What gives files the embeddings that their faces have already."""
    rows = {path: row for row, path in enumerate(faces.paths)}

    def embed(paths: Sequence[Path]) -> FileEmbeddings:
        index = np.array([i for i, path in enumerate(paths) if path in rows], np.int64)
        found = embedded.take([rows[paths[i]] for i in index])
        skipped = [(path, "unreadable") for path in paths if path not in rows]
        return FileEmbeddings(found.embedding, found.group_feature, found.group, index, skipped)

    return embed


def _pairs(heldout: FaceFolder) -> PairList:
    """All pairs of few images; of many a balanced draw."""
    if len(heldout) <= _MOST_FOR_ALL_PAIRS:
        return all_pairs(heldout.paths, heldout.labels)
    sizes = np.bincount(heldout.labels).astype(np.int64)
    genuine = int((sizes * (sizes - 1) // 2).sum())
    return sample_pairs(heldout.paths, heldout.labels, min(_DRAWN_PAIRS, 2 * genuine))
