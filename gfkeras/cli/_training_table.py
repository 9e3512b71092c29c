"""What a training run came to, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfkeras.cli._output import say, table

if TYPE_CHECKING:
    from gfkeras.training import TrainingResult


def print_training(result: TrainingResult, title: str = "") -> None:
    """Prints the figures of a run and its notes."""
    metrics = result.metrics
    rows = [
        ("Epochs", f"{result.epochs}, best {result.best_epoch} by {result.monitor}"),
        ("Loss", metrics.get("loss")),
        ("Training accuracy", metrics.get("accuracy")),
        ("Held-out accuracy", metrics.get("val_accuracy")),
        ("Held-out AUC", metrics.get("val_auc")),
        ("Images", f"{result.images:,} of {result.identities:,} people"),
        ("Held out", f"{result.heldout_images:,} of {result.heldout_identities:,} people"),
        (
            "Skipped",
            f"{result.skipped:,}, see {result.out / 'skipped.csv'}" if result.skipped else 0,
        ),
        ("Parameters", f"{result.parameters:,}"),
        ("Trained on", result.devices),
        ("Images a second", result.images_per_second),
        ("Seconds", result.seconds),
        ("Model", result.last),
    ]
    table([(label, value) for label, value in rows if value is not None], title)
    for note in result.notes:
        say(note)
