"""The folder of a training run, and the result of a run."""

import contextlib
import csv
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gfkeras.data import Faces, RecordSet
from gfkeras.data.images import NOT_ALIGNED
from gfkeras.files import csv_file, write_text
from gfkeras.locks import only_writer
from gfkeras.safe_text import csv_cell, utf8
from gfkeras.text_lists import quoted
from gfkeras.training.recipe import Recipe

RECIPE_FILE = "recipe.toml"
SUMMARY_FILE = "summary.json"
LOG_FILE = "log.csv"
SKIPPED_FILE = "skipped.csv"
_LINE_ENDS = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})
CHECKPOINTS = "checkpoints"
IDENTITIES_FILE = "identities.txt"
# The folder with the runs of all stages before the last one.
STAGES = "stages"
_LOCK_FILE = ".train.lock"
# The variables of a checkpoint depend on these sections, so they must not change in a resumed run.
_FIXED = ("model", "head", "optimizer", "dtype_policy")
_RUN_FILES = (RECIPE_FILE, LOG_FILE, CHECKPOINTS, STAGES, "best", "last")


def check_folder(out: Path, resume: bool, recipe: Recipe) -> None:
    """Raises ValueError if a run of this recipe cannot start or continue in the folder."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"`out` must be a folder. Received: {str(out)!r}, which is a file")
    if not resume:
        found = next((name for name in _RUN_FILES if (out / name).exists()), None)
        if found:
            raise ValueError(
                f"`out` already holds a run ({found}). Use resume (--resume) to continue it, or "
                f"another folder. Received: out={str(out)!r}"
            )
    elif (out / RECIPE_FILE).is_file():
        # Other sections can change when a run is resumed, for example the number of epochs.
        for key, before, now in changes(out, recipe):
            section = key.partition(".")[0]
            if section in _FIXED:
                raise ValueError(
                    f"The run in {str(out)!r} cannot be resumed with another [{section}]: it was "
                    f"started with {key} = {before!r}. Received: {now!r}"
                )


def changes(run: Path, recipe: Recipe) -> list[tuple[str, Any, Any]]:
    """Returns (dotted key, value in the run's recipe, value in `recipe`) where they differ."""
    before, now = (_leaves(each.model_dump()) for each in (Recipe.read(run / RECIPE_FILE), recipe))
    found = []
    for key in sorted({*before, *now}):
        if key == "model.init" and _stage(before.get(key)) == _stage(now.get(key)) is not None:
            # The same stage of a run that was moved.
            continue
        if before.get(key) != now.get(key):
            found.append((key, before.get(key), now.get(key)))
    return found


def read_recipe(run: Path) -> Recipe:
    """Reads the recipe of a run. If the run was moved, so was the stage that it started from."""
    recipe = Recipe.read(run / RECIPE_FILE)
    if stage := _stage(recipe.model.init):
        for folder in (run / STAGES / stage, run.parent / stage):
            if folder.is_dir():
                return recipe.starting_from(folder)
    return recipe


def _stage(init: str | None) -> str | None:
    """Returns the name of the stage in whose folder training started, or None."""
    path = Path(init or "")
    return path.name if path.parent.name == STAGES else None


@contextlib.contextmanager
def only_training(out: Path) -> Iterator[None]:
    """Makes the folder and locks it during the block.

    New folders that are still empty at the end are removed.

    Raises:
        ValueError: if another training writes the folder.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with only_writer(out, out / _LOCK_FILE):
            yield
    finally:
        for folder in made:
            # `rmdir` fails for a folder that is not empty, which must stay.
            with contextlib.suppress(OSError):
                folder.rmdir()


def _leaves(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested tables by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        nested = isinstance(value, Mapping)
        found |= _leaves(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def write_inputs(
    out: Path, recipe: Recipe, faces: Faces | RecordSet, heldout: Faces | None
) -> None:
    """Makes the folder and writes recipe, identities and skipped images into it."""
    out.mkdir(parents=True, exist_ok=True)
    recipe.write(out / RECIPE_FILE)
    _write_lines(out / IDENTITIES_FILE, faces.identities)
    _write_lines(out / "heldout.txt", heldout.identities if heldout is not None else [])
    skipped = faces.skipped + (heldout.skipped if heldout is not None else [])
    with csv_file(out / SKIPPED_FILE, ("path", "reason")) as write:
        for row in skipped:
            write(row)


def notes_on_images(*parts: Faces | RecordSet | None) -> list[str]:
    """Returns notes for the user about images of another size than the network's."""
    faces = [part for part in parts if isinstance(part, Faces)]
    resized = sum(part.resized for part in faces)
    refused = sum(NOT_ALIGNED in reason for part in faces for _, reason in part.skipped)
    found = []
    if resized:
        found.append(
            f"{resized:,} images were not aligned faces of 112x112 and were scaled to fit, because "
            "`data.resize` is true. Photos need `gfkeras prepare --align` first."
        )
    if refused:
        found.append(
            f"{refused:,} images were left out because they are not aligned faces of 112x112. "
            "`gfkeras prepare --align` aligns photos."
        )
    return found


def add_skipped(out: Path, skipped: dict[Path, str]) -> None:
    """Adds images that could not be read during training to the list of skipped images."""
    with (out / SKIPPED_FILE).open("a", newline="", encoding="utf-8") as file:
        rows = (map(csv_cell, row) for row in skipped.items())
        csv.writer(file, lineterminator="\n").writerows(rows)


def _write_lines(path: Path, lines: list[str]) -> None:
    # Line ends and quotes in a name are escaped, so each name stays on its own line.
    kept = (quoted(utf8(line)).translate(_LINE_ENDS) for line in lines)
    write_text(path, "".join(f"{line}\n" for line in kept))


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The summary of a run, also written as `summary.json`.

    Attributes:
        out: the folder of the run.
        best, last: model folders of the best and of the last epoch.
        epochs: number of epochs done, including those before a resume.
        best_epoch: number of the best epoch, counted from 1.
        monitor: the value that decides about the best epoch, "val_auc" or "loss".
        best_value: the monitored value of the best epoch.
        images, identities: numbers of images and identities in the training data.
        heldout_images, heldout_identities: numbers of images and identities for verification.
        skipped: number of images and folders that were left out. `skipped.csv` lists them.
        parameters: number of parameters of the model, without the class centers.
        devices: description of the devices, such as "one device" or "2 replicas".
        seconds: time of the epochs in this call.
        images_per_second: median over the epochs in this call, without the first one.
        metrics: logs of the last epoch.
        notes: notes for the user.
    """

    out: Path
    best: Path
    last: Path
    epochs: int
    best_epoch: int
    monitor: str
    best_value: float | None
    images: int
    identities: int
    heldout_images: int
    heldout_identities: int
    skipped: int
    parameters: int
    devices: str
    seconds: float
    images_per_second: float | None
    metrics: dict[str, float]
    notes: list[str]

    def summary(self) -> list[tuple[str, Any]]:
        """Returns rows of (label, value) to print."""
        metrics = self.metrics
        skipped = f"{self.skipped:,}, see {self.out / SKIPPED_FILE}" if self.skipped else 0
        rows: list[tuple[str, Any]] = [
            ("Epochs", f"{self.epochs}, best {self.best_epoch} by {self.monitor}"),
            ("Loss", metrics.get("loss")),
            ("Training accuracy", metrics.get("accuracy")),
            ("Held-out accuracy", metrics.get("val_accuracy")),
            ("Held-out AUC", metrics.get("val_auc")),
            ("Images", f"{self.images:,} of {self.identities:,} people"),
            ("Held out", f"{self.heldout_images:,} of {self.heldout_identities:,} people"),
            ("Skipped", skipped),
            ("Parameters", f"{self.parameters:,}"),
            ("Trained on", self.devices),
            ("Images a second", self.images_per_second),
            ("Seconds", self.seconds),
            ("Model", self.last),
        ]
        return [(label, value) for label, value in rows if value is not None]

    def to_json(self) -> dict[str, Any]:
        """Returns all fields, with paths as text."""
        paths = {"out": str(self.out), "best": str(self.best), "last": str(self.last)}
        return dataclasses.asdict(self) | paths
