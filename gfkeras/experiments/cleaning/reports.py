"""The files of a cleaning: dropped.csv, classes.csv, report.json."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gfkeras.experiments.cleaning.result import CleaningResult, DroppedImage
from gfkeras.files import replacing

DROPPED_FILE, CLASSES_FILE, REPORT_FILE = "dropped.csv", "classes.csv", "report.json"
_DROPPED = ("image", "identity", "angle", "looks_like", "looks_like_angle")


def write(result: CleaningResult) -> None:
    """Writes all three, each whole or not at all."""
    _write_csv(
        result.out / DROPPED_FILE,
        _DROPPED,
        (
            (d.image, d.identity, _degrees(d.angle), d.looks_like, _degrees(d.looks_like_angle))
            for d in result.dropped
        ),
    )
    _write_csv(
        result.out / CLASSES_FILE,
        ("identity", "images", "dominant_share", "dropped", "kept"),
        (
            (c["identity"], c["images"], f"{c['dominant_share']:.4f}", c["dropped"], c["kept"])
            for c in result.classes()
        ),
    )
    with replacing(result.out / REPORT_FILE) as temporary:
        text = json.dumps(_without_nan(result.to_json()), indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def require_same(out: Path, dropped: Sequence[DroppedImage]) -> None:
    """Raises ValueError where an earlier call in `out` dropped other images than this one."""
    path = out / DROPPED_FILE
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        before = {row["image"] for row in csv.DictReader(file)}
    changed = before ^ {image.image for image in dropped}
    if changed:
        raise ValueError(
            f"`out` holds a network that was trained on another selection: {len(changed)} images "
            f"differ, such as {min(changed)!r}. Give another folder, or remove "
            f"{str(out / 'retrained')!r}"
        )


def _write_csv(path: Path, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(headings)
        writer.writerows(rows)


def _degrees(angle: float) -> str:
    return "" if math.isnan(angle) else f"{angle:.2f}"


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
