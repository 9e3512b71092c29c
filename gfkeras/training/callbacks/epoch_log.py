"""The log of a run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras

from gfkeras.files import replacing


class EpochLog(keras.callbacks.Callback):
    """Writes the logs of each epoch into a CSV file, one row an epoch.

    Unlike keras.callbacks.CSVLogger it takes columns that first come in a later epoch,
    and on a resumed run drops the rows that the run will do again.

    Args:
        path: the file.
        first_epoch: rows of this epoch and later ones in an existing file are dropped.
    """

    def __init__(self, path: Path, first_epoch: int = 0):
        super().__init__()
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [
                    row for row in csv.DictReader(file) if int(row["epoch"]) <= first_epoch
                ]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= {key: f"{float(value):.6g}" for key, value in (logs or {}).items()}
        self.rows.append(row)
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with (
            replacing(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
