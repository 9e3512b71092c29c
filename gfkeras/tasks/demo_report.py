"""HTML report of the demo."""

from __future__ import annotations

import contextlib
import csv
import datetime
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.data import Faces
from gfkeras.evaluation.pairs_result import PairsResult
from gfkeras.evaluation.report import ExportRow, FacePair, ReportContext, write_report
from gfkeras.version import __version__

if TYPE_CHECKING:
    from gfkeras.training import Recipe, TrainingResult


def write_demo_report(
    path: Path,
    *,
    command: str,
    results: Mapping[str, PairsResult],
    training: TrainingResult,
    recipe: Recipe,
    source: str,
    faces: Faces,
    groups: np.ndarray | None,
    exports: Sequence[Mapping[str, Any]],
    seconds: float,
    stages: Mapping[str, float],
) -> None:
    """Writes `report.html`.

    `results` begins with the trained network and ends with the untrained one. `faces` are those of
    the held-out people, and `groups`, (N,), are their groups. `exports` and `stages` are as in
    report.json.
    """
    trained = next(iter(results.values()))
    model = recipe.model
    grouped = model.name == "GroupFace"
    settings: dict[str, object] = {
        "Faces": source,
        "Trained on": f"{training.images:,} faces of {training.identities:,} people",
        "Held out": f"{len(faces):,} faces of {len(faces.identities):,} people",
        "Network": f"{model.name} on {model.backbone.name}, {training.parameters:,} parameters",
        "Embedding": f"{model.embedding_dim} dimensions",
        "Head": recipe.head.name,
        "Epochs": f"{training.epochs}, {recipe.training.batch_size} images per batch",
    }
    if training.images_per_second is not None:
        settings["Training speed"] = f"{training.images_per_second:.0f} images per second"
    settings["Seconds"] = ", ".join(f"{name} {spent:.0f}" for name, spent in stages.items())
    context = ReportContext(
        title="GroupFace from training to export" if grouped else "Face recognition",
        command=command,
        created=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        lead="All results are measured on people that the network never saw in training.",
        results=results,
        baseline=list(results)[-1],
        seconds=seconds,
        settings=settings,
        versions=_versions(),
        group_counts=_counts(groups, recipe),
        training_log=_log(training.out / "log.csv"),
        faces=_samples(faces),
        genuine=_pairs(faces, trained, _easy_genuine(trained)),
        hardest=_pairs(
            faces, trained, [*trained.hardest(same=True, count=4), *trained.hardest(False, 4)]
        ),
        exports=[_row(export) for export in exports],
        notes=training.notes,
    )
    write_report(path, context)


def _counts(groups: np.ndarray | None, recipe: Recipe) -> np.ndarray | None:
    if groups is None:
        return None
    count = recipe.model.num_groups or int(groups.max()) + 1
    return np.bincount(groups, minlength=count)


def _log(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of log.csv, with epochs counted from 0 as in the logs of Keras."""
    with path.open(newline="", encoding="utf-8") as file:
        return [row | {"epoch": int(row["epoch"]) - 1} for row in csv.DictReader(file)]


def _samples(faces: Faces, people: int = 5, images: int = 6) -> list[tuple[np.ndarray, str]]:
    return [
        (faces.images[index], faces.identities[label])
        for label in range(min(people, len(faces.identities)))
        for index in np.flatnonzero(faces.labels == label)[:images]
    ]


def _easy_genuine(result: PairsResult, count: int = 4) -> list[int]:
    """Returns genuine pairs with scores near the median, as typical examples."""
    rows = np.flatnonzero(result.same)
    rows = rows[np.argsort(result.scores[rows])]
    # `count` rows around the median.
    start = max(0, len(rows) // 2 - count // 2)
    return rows[start : start + count].tolist()


def _pairs(faces: Faces, result: PairsResult, rows: Sequence[int]) -> list[FacePair]:
    if result.kept is None:
        return []
    position = {path: index for index, path in enumerate(faces.paths)}
    pairs = []
    for row in rows:
        first, second = (position[side[row]] for side in (result.kept.first, result.kept.second))
        names = [faces.identities[faces.labels[index]] for index in (first, second)]
        same = bool(result.same[row])
        pairs.append(
            FacePair(
                first=faces.images[first],
                second=faces.images[second],
                score=float(result.scores[row]),
                same=same,
                caption=names[0] if same else " / ".join(names),
            )
        )
    return pairs


def _row(export: Mapping[str, Any]) -> ExportRow:
    names = ("name", "size_bytes", "max_abs_error", "min_cosine", "passed", "tolerance", "images")
    return ExportRow(**{name: export[name] for name in names}, file=Path(export["path"]).name)


def _versions() -> dict[str, str]:
    versions = {"gfkeras": __version__, "Python": platform.python_version()}
    for package in (
        "keras",
        "tensorflow",
        "tensorflow-cpu",
        "jax",
        "ai-edge-litert",
        "onnxruntime",
    ):
        # Backends and runtimes are optional.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
