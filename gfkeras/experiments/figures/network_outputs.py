"""Outputs of a network for many files, beyond the embedding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.data.images import ImageError, read_image

if TYPE_CHECKING:
    from gfkeras.inference import Embedder

_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """Outputs of a network for those M files of a list that could be read.

    Attributes:
        values: (M, …) float32 by output, as the network gives them: not normalised.
        index: (M,) int64, position in the list of each file, ascending.
        skipped: (file, reason) of the others.
    """

    values: dict[str, np.ndarray]
    index: np.ndarray
    skipped: list[tuple[Path, str]]


def network_outputs(
    embedder: Embedder,
    paths: Sequence[Path],
    keys: Sequence[str],
    optional: Sequence[str] = (),
    reader: Callable[[Path], np.ndarray] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NetworkOutputs:
    """Runs a network over files, some hundred images at a time.

    Args:
        embedder: of a network in any form.
        paths: images of aligned faces, or of what `reader` takes.
        keys: which outputs to keep: "embedding" (v̄), "instance" (v), "group_feature" (v̂),
            "group_logits".
        optional: outputs to keep where the network gives them.
        reader: turns a file into an aligned face; `read_image` by default.
        progress: called with (files done, files).

    Raises:
        ValueError: for a network without one of the outputs, and where no file can be read.
    """
    read = reader or (lambda path: read_image(path, embedder.image_size))

    def load(path: Path) -> np.ndarray | str:
        try:
            return read(path)
        except ImageError as error:
            return error.reason

    parts: dict[str, list[np.ndarray]] = {}
    index: list[int] = []
    skipped: list[tuple[Path, str]] = []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            images = []
            for position, (path, found) in enumerate(zip(some, pool.map(load, some), strict=True)):
                if isinstance(found, str):
                    skipped.append((path, found))
                else:
                    images.append(found)
                    index.append(start + position)
            if images:
                outputs = embedder.outputs(np.stack(images))
                for key in (*keys, *(key for key in optional if key in outputs)):
                    parts.setdefault(key, []).append(_output(outputs, key))
            if progress is not None:
                progress(start + len(some), len(paths))
    if not index:
        which = f"; {skipped[-1][0]}: {skipped[-1][1]}" if skipped else ""
        raise ValueError(f"None of the {len(paths)} images can be used{which}")
    values = {key: np.concatenate(part) for key, part in parts.items()}
    return NetworkOutputs(values, np.asarray(index, np.int64), skipped)


def _output(outputs: dict[str, np.ndarray], key: str) -> np.ndarray:
    if key not in outputs:
        raise ValueError(
            f"`model` must be a GroupFace, with groups and the output {key!r}; an artefact may "
            f"lack it. Received: a model with {', '.join(map(repr, sorted(outputs)))}"
        )
    return outputs[key]
