"""Faces of a figure: chosen people and images, and a network's outputs for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.data import FaceFolder
from gfkeras.data.images import read_image
from gfkeras.errors import ImageError, positive_int

if TYPE_CHECKING:
    from gfkeras.inference import Embedder

_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """Images of some people, one person's after another's; `labels` (N,) are rows of `names`."""

    names: list[str]
    paths: list[Path]
    labels: np.ndarray

    def take(self, index: Sequence[int] | np.ndarray) -> ChosenImages:
        """The files at these positions."""
        return ChosenImages(self.names, [self.paths[i] for i in index], self.labels[index])


def choose_people(
    folder: FaceFolder, people: int | None = None, images: int | None = None, seed: int = 0
) -> ChosenImages:
    """The people with the most images, and some images of each.

    Args:
        folder: one folder per person.
        people: how many, of those with two images at least; all that `folder` names by default,
            each of whom must have two then.
        images: of each person at most, drawn by `seed`; all by default.
    """
    counts = np.bincount(folder.labels, minlength=len(folder.identities))
    several = np.flatnonzero(counts >= 2)
    if people is None and len(several) < len(counts):
        short = folder.identities[int(np.flatnonzero(counts < 2)[0])]
        raise ValueError(
            "`identities` must be people with two images at least, to see whether they lie "
            f"together. Received: {short!r} with one"
        )
    wanted = len(several) if people is None else positive_int("people", people)
    if not 2 <= wanted <= len(several):
        raise ValueError(
            f"`people` must be from 2 to {len(several)}, the people with two images at least in "
            f"{str(folder.root)!r}. Received: people={wanted}"
        )
    if people is not None:
        # Of as many pictures the earlier name, wherever a sort would leave it.
        several = several[np.argsort(-counts[several], kind="stable")][:wanted]
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    labels: list[int] = []
    for label, person in enumerate(several):
        files = np.flatnonzero(folder.labels == person)
        if images is not None and len(files) > positive_int("images", images):
            files = np.sort(rng.choice(files, max(images, 2), replace=False))
        chosen += files.tolist()
        labels += [label] * len(files)
    names, paths = [folder.identities[p] for p in several], [folder.paths[i] for i in chosen]
    return ChosenImages(names, paths, np.asarray(labels))


def draw_images(folder: FaceFolder, images: int | None, seed: int = 0) -> ChosenImages:
    """At most so many images of a whole folder, drawn by `seed`; all for None."""
    index = np.arange(len(folder))
    if images is not None and len(index) > positive_int("images", images):
        index = np.sort(np.random.default_rng(seed).choice(index, images, replace=False))
    return ChosenImages(folder.identities, folder.paths, np.asarray(folder.labels)).take(index)


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """Outputs of a network for those M files of a list that could be read.

    `values` are (M, …) float32 by output, as the network gives them: not normalised. `index` (M,)
    int64 ascends: the position in the list of each file. `skipped` are (file, reason) of the
    others.
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
