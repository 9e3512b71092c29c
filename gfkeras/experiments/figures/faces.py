"""Faces for a plot: chosen people and images, and a model's outputs for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfkeras.data import FaceFolder
from gfkeras.data.images import read_image
from gfkeras.errors import ImageError, positive_int, wrong

if TYPE_CHECKING:
    from gfkeras.inference import Embedder

_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """Images of some people, person after person. `labels` (N,) are positions in `names`."""

    names: list[str]
    paths: list[Path]
    labels: np.ndarray

    def take(self, index: Sequence[int] | np.ndarray) -> ChosenImages:
        """Returns the images at these positions."""
        return ChosenImages(self.names, [self.paths[i] for i in index], self.labels[index])


def choose_people(
    folder: FaceFolder, people: int | None = None, images: int | None = None, seed: int = 0
) -> ChosenImages:
    """Returns the people with the most images, and some images of each.

    By default these are all people of the folder, who must then all have two images, and all
    images. At most `images` of a person are drawn by `seed`. Raises ValueError if there are fewer
    than two people with two images, or fewer than requested.
    """
    counts = np.bincount(folder.labels, minlength=len(folder.identities))
    several = np.flatnonzero(counts >= 2)
    if people is None and len(several) < len(counts):
        short = folder.identities[int(np.flatnonzero(counts < 2)[0])]
        raise wrong("identities", "be people with at least two images", f"{short!r} with one")
    wanted = len(several) if people is None else positive_int("people", people)
    if not 2 <= wanted <= len(several):
        raise ValueError(
            f"`people` must be from 2 to {len(several)}, the people with at least two images in "
            f"{str(folder.root)!r}. Received: people={wanted}"
        )
    if people is not None:
        # The stable sort keeps people with equally many images in the order of their names.
        several = several[np.argsort(-counts[several], kind="stable")][:wanted]
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    labels: list[int] = []
    for label, person in enumerate(several):
        files = np.flatnonzero(folder.labels == person)
        if images is not None and len(files) > positive_int("images", images):
            # Two images per person are needed to see whether they are together.
            files = np.sort(rng.choice(files, max(images, 2), replace=False))
        chosen += files.tolist()
        labels += [label] * len(files)
    names, paths = [folder.identities[p] for p in several], [folder.paths[i] for i in chosen]
    return ChosenImages(names, paths, np.asarray(labels))


def draw_images(folder: FaceFolder, images: int | None, seed: int = 0) -> ChosenImages:
    """Returns at most `images` images of a folder, drawn by `seed`. None means all."""
    index = np.arange(len(folder))
    if images is not None and len(index) > positive_int("images", images):
        index = np.sort(np.random.default_rng(seed).choice(index, images, replace=False))
    return ChosenImages(folder.identities, folder.paths, np.asarray(folder.labels)).take(index)


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """Outputs of a model for the M readable files of a list.

    `values` maps each output to (M, …) float32, as the model gives it and not normalised. `index`
    (M,) int64 is the position of each file in the list, ascending. `skipped` holds (file, reason)
    of the unreadable files.
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
    """Runs a model over files, 256 images at a time.

    The outputs `keys` are kept, and those in `optional` if the model has them: "embedding" (v̄),
    "instance" (v), "group_feature" (v̂), "group_logits". `reader` turns a file into an aligned
    face, by default `read_image`. `progress` is called with (files done, all files). Raises
    ValueError if the model lacks one of the outputs, or if no file is readable.
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
    # Decoders release the GIL, so two threads decode in parallel.
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
        which = f" The last: {skipped[-1][0]}: {skipped[-1][1]}" if skipped else ""
        raise ValueError(f"None of the {len(paths)} images can be used.{which}")
    values = {key: np.concatenate(part) for key, part in parts.items()}
    return NetworkOutputs(values, np.asarray(index, np.int64), skipped)


def _output(outputs: dict[str, np.ndarray], key: str) -> np.ndarray:
    if key not in outputs:
        expected = f"be a GroupFace, with groups and the output {key!r}, which an artefact may lack"
        raise wrong("model", expected, f"a model with {', '.join(map(repr, sorted(outputs)))}")
    return outputs[key]
