"""The files of a preset, and the thresholds that come with it."""

from __future__ import annotations

import os
from pathlib import Path

from gfkeras.downloads import fetch_file
from gfkeras.evaluation import COSINE, Thresholds
from gfkeras.files import sha256
from gfkeras.zoo.registry import Preset


def weights_path(
    preset: Preset,
    folder: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Path:
    """The file of a preset's weights, downloaded if need be.

    Args:
        preset: whose.
        folder: where a download is kept; the cache by default.
        progress: whether to draw a bar; by default where stderr is a terminal.

    Raises:
        ValueError: if a file that comes with gfkeras is missing or damaged.
        DownloadError: if it cannot be downloaded, or is another file.
    """
    weights = preset.weights
    if weights.url is not None:
        return fetch_file(weights.url, weights.sha256, folder=folder, progress=progress)
    path = preset.folder / weights.file_name
    if not path.is_file():
        raise ValueError(f"{path} is missing: this copy of gfkeras is not whole")
    size = path.stat().st_size
    if size != weights.size_bytes or sha256(path) != weights.sha256:
        raise ValueError(
            f"{path} is damaged: {size} bytes that do not have the SHA-256 of model.toml"
        )
    return path


def preset_thresholds(preset: Preset) -> Thresholds | None:
    """The thresholds of a preset; None where nobody measured any."""
    table = preset.thresholds
    if table is None:
        return None
    return Thresholds(COSINE, dict(table.at_far), table.impostor, table.origin)
