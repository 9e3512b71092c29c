"""Choice of the people and images that a figure shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfkeras.data import FaceFolder
from gfkeras.errors import positive_int


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """Images of some people.

    Attributes:
        names: of the people.
        paths: the files, one person's after another's.
        labels: (N,) int, index into `names` of each file.
    """

    names: list[str]
    paths: list[Path]
    labels: np.ndarray

    def take(self, index: Sequence[int] | np.ndarray) -> ChosenImages:
        """The files at these positions."""
        return ChosenImages(self.names, [self.paths[i] for i in index], self.labels[index])


def choose_people(
    folder: FaceFolder, people: int | None = None, images: int | None = None, seed: int = 0
) -> ChosenImages:
    """The people with the most pictures, and some pictures of each.

    Args:
        folder: one folder per person.
        people: how many, of those with two pictures at least; all that `folder` names by default,
            each of whom must have two then.
        images: of each person at most, drawn by `seed`; all by default.
        seed: of the draw.

    Raises:
        ValueError: where there are fewer than two such people, or than asked for.
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
    return ChosenImages(
        [folder.identities[person] for person in several],
        [folder.paths[i] for i in chosen],
        np.asarray(labels),
    )


def draw_images(folder: FaceFolder, images: int | None, seed: int = 0) -> ChosenImages:
    """At most so many pictures of a whole folder, drawn by `seed`; all for None."""
    index = np.arange(len(folder))
    if images is not None and len(index) > positive_int("images", images):
        index = np.sort(np.random.default_rng(seed).choice(index, images, replace=False))
    return ChosenImages(
        folder.identities, [folder.paths[i] for i in index], np.asarray(folder.labels)[index]
    )
