"""What a training run came to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The summary of a run, also written as `summary.json`.

    Attributes:
        out: the folder of the run.
        best: model folder of the best epoch.
        last: model folder of the last epoch.
        epochs: epochs done in all, those before a resume included.
        best_epoch: counted from 1.
        monitor: what best means: "val_auc" or "loss".
        best_value: the monitored value of that epoch.
        images, identities: what was trained on.
        heldout_images, heldout_identities: what was verified on.
        skipped: images and folders left out; `skipped.csv` lists them.
        parameters: of the model, without the class centers.
        devices: where it was trained: "one device", "2 replicas".
        seconds: of this call's epochs.
        images_per_second: median over this call's epochs but the first.
        metrics: the logs of the last epoch.
        notes: what the user should know.
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

    def to_json(self) -> dict[str, Any]:
        """All fields, with paths as text."""
        return {
            key: str(value) if isinstance(value, Path) else value
            for key, value in dataclasses.asdict(self).items()
        }
