"""A demonstration from end to end: train, evaluate, export, verify and report."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
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
from gfkeras.files import PathLike, size_bytes, write_json
from gfkeras.inference import Embedder, Embeddings, FileEmbeddings
from gfkeras.processors import usable_processors
from gfkeras.tasks.reporting import Progress

if TYPE_CHECKING:
    import keras

    from gfkeras.training import Recipe, TrainingResult

# With more held-out images than this, random pairs are used: the number of all pairs is quadratic.
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
    """The results of the demo.

    Attributes:
        out: the folder with all files.
        results: the content of `report.json`.
    """

    out: Path
    results: dict[str, Any]

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.out / "report.html"

    @property
    def json(self) -> Path:
        """The numbers of the report as JSON."""
        return self.out / "report.json"

    @property
    def broken(self) -> list[str]:
        """The artefacts whose error is over the tolerance."""
        return [export["name"] for export in self.results["exports"] if not export["passed"]]

    def to_json(self) -> dict[str, Any]:
        """The content of `report.json`."""
        return self.results


def demo(
    out: PathLike = "runs/demo",
    data: PathLike | None = None,
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
    """Trains, evaluates, exports and verifies a model, and writes a report.

    With `data`, a quarter of the people are held out, and the number of epochs is chosen to train
    on about as many images as with synthetic faces. To change this, use `holdout` and the settings
    "data.holdout_identities" and "training.epochs".

    Args:
        out: folder for all results.
        data: folder with one folder of faces per person. By default, synthetic faces.
        holdout: number of people to hold out of training: the last in natural order.
        recipe: a TOML file, or the name of a built-in recipe.
        settings: changes of the recipe, such as "training.epochs=3".
        people, faces: number of synthetic people, and of faces per person.
        strength: variation of pose, light, occlusion and camera between synthetic faces, 0 to 1.
        verbose: 0, 1 or 2, as for `keras.Model.fit`.
        command: the command line to show in the report.
        progress: called with (next stage, stages done, number of stages).

    Returns:
        A `Demo`. Its `results["stages"]` has the seconds of each stage.

    Raises:
        ValueError: if the recipe or data are missing or do not fit together.

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
        # Existing faces are used again, so the folder's name holds everything that changes them.
        root = out / f"faces-{checked.seed}-{people}x{faces}-{strength:g}"
        with clock.stage("data"):
            folder = FaceFolder(
                render_people(root, people, faces, checked.seed, strength, load_keras)
            )
    # Settings of the user must win over the values that are chosen below.
    given = {setting.partition("=")[0].strip() for setting in settings}
    if data is not None and holdout is None and "data.holdout_identities" not in given:
        # At least two people, because impostor pairs need two.
        checked.data.holdout_identities = max(2, len(folder.identities) // 4)
    training, heldout = folder.split(checked.data.holdout_identities)
    if data is not None and "training.epochs" not in given:
        seen = checked.training.epochs * faces * people
        checked.training.epochs = max(1, round(seen / len(training)))
        # A small data set has many short epochs, and a verification in each would take longer.
        checked.evaluation.every_epochs = max(1, checked.training.epochs // 8)
    source = f"synthetic, variation {strength:g} (0 to 1)" if data is None else str(data)
    # Keras is often loaded already, while other processes rendered faces.
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
    """Writes synthetic faces, one folder per person. Existing files are kept.

    Args:
        root: folder to write. Use another folder for each seed and strength: existing faces are not
            rendered again.
        people: number of people.
        images: number of images per person.
        seed: random seed of the people.
        strength: variation between the images of a person, from 0 to 1.
        meanwhile: called while other processes render.
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
    # Spawn, because a fork copies locks that the parent's threads may hold at that moment.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = [pool.submit(write_synthetic_folder, *job) for job in jobs]
        if meanwhile is not None:
            meanwhile()
        for job in running:
            job.result()
    return root


class _Clock:
    """Measures the seconds of each stage and reports the progress."""

    # Data, training, evaluation, report, and one for each export.
    STAGES = 4 + len(_EXPORTS)

    def __init__(self, progress: Progress | None):
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self._progress, self._done = progress, 0

    def say(self, text: str) -> None:
        """Reports that a stage begins."""
        if self._progress is not None:
            self._progress(text, self._done, self.STAGES)
        self._done += 1

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the seconds of the block to a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - begun

    @property
    def total(self) -> float:
        """Seconds since the start."""
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
        f"Training on {len(training):,} faces of {len(training.identities)} people "
        f"({len(heldout.identities)} people are held out)"
    )
    result = _train(recipe, training, heldout, out / "training", clock, verbose)

    clock.say("Evaluating on the held-out people")
    with clock.stage("evaluation"):
        keras.utils.set_random_seed(recipe.seed)
        # Measure the same network before and after training, because tracing another one is slow.
        model = build_model(recipe.model)
        embedder, pairs = Embedder(model), _pairs(heldout)
        faces = heldout.load(resize=recipe.data.resize)
        untrained = evaluate_pairs(_embed(embedder(faces.images), faces), pairs)
        # The last weights, not the best ones: these were chosen by their result on the same people.
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
            out / "report.html", command=command, training=result, recipe=recipe, source=source,
            results={"Trained": trained, "Untrained": untrained}, faces=faces,
            groups=embedded.group, exports=exports, seconds=results["seconds"],
            stages=clock.seconds,
        )  # fmt: skip
    return results


def _train(
    recipe: Recipe,
    training: FaceFolder,
    heldout: FaceFolder,
    run: Path,
    clock: _Clock,
    verbose: str | int,
) -> TrainingResult:
    """Trains, and measures the seconds for building, compiling, steps and verification."""
    import keras

    from gfkeras.training import train

    class Seconds(keras.callbacks.Callback):
        """Adds the time since the last event to a stage."""

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
            # The first batch compiles the training step.
            self._charge("training" if self.batches else "compiling")
            self.batches += 1

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            # Verification runs between two epochs.
            if epoch:
                self._charge("training verification")

        def on_train_end(self, logs: object = None) -> None:
            self._charge("training verification")

    if (run / "recipe.toml").is_file() or (run / "stages").is_dir():
        # A folder of an earlier demo. Only a folder with a recipe is a run that can be removed.
        shutil.rmtree(run)
    return train(recipe, training, run, heldout=heldout, verbose=verbose, callbacks=[Seconds()])


def _exports(
    model: keras.Model, embedded: Embeddings, images: np.ndarray, out: Path, clock: _Clock
) -> list[dict[str, Any]]:
    """Exports the model in every format, and verifies each file against the model's embeddings."""
    from gfkeras.export import TOLERANCES, export_model, verify

    chosen = np.linspace(0, len(images) - 1, min(len(images), _VERIFIED_IMAGES)).astype(int)
    expected = embedded.take(chosen)
    exports = []
    for name, form, precision, file in _EXPORTS:
        clock.say(f"Exporting and verifying {name}")
        with clock.stage(f"export {name}"):
            path = export_model(model, out / file, format=form, precision=precision)
        with clock.stage("verification"):
            # The model's embeddings are known: it does not have to run again for each artefact.
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
                "summary": f"largest error {parity.max_abs_error:.1e}, "
                f"smallest cosine {parity.min_cosine:.6f}",
            }
        )
    return exports


def _embed(embedded: Embeddings, faces: Faces) -> Embed:
    """Returns a function that looks up the embeddings of files."""
    rows = {path: row for row, path in enumerate(faces.paths)}

    def embed(paths: Sequence[Path]) -> FileEmbeddings:
        index = np.array([i for i, path in enumerate(paths) if path in rows], np.int64)
        found = embedded.take([rows[paths[i]] for i in index])
        skipped = [(path, "unreadable") for path in paths if path not in rows]
        return FileEmbeddings(found.embedding, found.group_feature, found.group, index, skipped)

    return embed


def _pairs(heldout: FaceFolder) -> PairList:
    """Returns all pairs of a few images, or a balanced random sample."""
    if len(heldout) <= _MOST_FOR_ALL_PAIRS:
        return all_pairs(heldout.paths, heldout.labels)
    sizes = np.bincount(heldout.labels).astype(np.int64)
    # n images of a person make n (n − 1) / 2 genuine pairs. A balanced sample has at most twice
    # as many pairs in total.
    genuine = int((sizes * (sizes - 1) // 2).sum())
    return sample_pairs(heldout.paths, heldout.labels, min(_DRAWN_PAIRS, 2 * genuine))
