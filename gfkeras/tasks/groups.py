"""Use of a model's groups, with controls that take them away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gfkeras.backend import load_keras
from gfkeras.data import FaceFolder
from gfkeras.evaluation import AllPairs
from gfkeras.files import PathLike
from gfkeras.tasks.reporting import Progress, stage_progress

if TYPE_CHECKING:
    from gfkeras.experiments.group_use import GroupUse


def groups(
    model: PathLike,
    data: PathLike,
    *,
    identities: PathLike | None = None,
    resize: bool = False,
    bootstrap: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> GroupUse:
    """Measures whether the groups of a model are used and whether they help.

    All pairs of the faces are compared: with the groups as the model chooses them, with the mean
    of all groups, with one group for all, with the groups of other faces, and by v alone. It also
    counts how often two images of one person share a group.

    Args:
        model: a preset, a model folder or a .keras file of a GroupFace. Exported files have no
            single groups.
        data: a folder with one folder of aligned faces per person, of people that the model was
            not trained on.
        identities: text file with the people to use. By default, all people.
        resize: scale cropped faces of another size to fit.
        bootstrap: draws of people for intervals and standard errors.
        seed: random seed for the groups of other faces.
        progress: called with ("Embedding", images done, number of images).

    Raises:
        ValueError: if the model has no groups, or the folder has too few pairs.

    Example:
        print(groups("h_groupface_mobilefacenet", "heldout").verdict)
    """
    load_keras()
    from gfkeras.experiments.group_use import measure_groups
    from gfkeras.zoo.loading import load

    folder = FaceFolder(data, None if identities is None else Path(identities))
    faces = AllPairs(folder.paths, folder.labels, folder.skipped)
    return measure_groups(
        load(model), faces, bootstrap, resize, seed, stage_progress(progress, "Embedding")
    )
