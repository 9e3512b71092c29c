"""Use of a model's groups, with controls that take them away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gfkeras.backend import load_keras
from gfkeras.data import FaceFolder
from gfkeras.evaluation import AllPairs
from gfkeras.files import PathLike, require_writable
from gfkeras.tasks.reporting import Progress, stage_progress

if TYPE_CHECKING:
    from gfkeras.experiments.group_scale import Calibration
    from gfkeras.experiments.group_use import GroupUse
    from gfkeras.models import GroupFace


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
    from gfkeras.experiments.group_use import measure_groups

    found, faces = _opened(model, data, identities)
    return measure_groups(
        found, faces, bootstrap, resize, seed, stage_progress(progress, "Embedding")
    )


def calibrate(
    model: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    identities: PathLike | None = None,
    resize: bool = False,
    bootstrap: int = 200,
    scales: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    progress: Progress | None = None,
) -> Calibration:
    """Chooses α in v̄ = v + α·v^G on held-out people, and saves the model with it in `out`.

    α is 0, which leaves the groups out, unless another α is better by two standard errors. `scales`
    are the values to try. The other arguments and errors are those of `groups`.
    """
    from gfkeras.experiments.group_scale import calibrate_groups

    require_writable(out)
    found, faces = _opened(model, data, identities)
    moved = stage_progress(progress, "Embedding")
    chosen = calibrate_groups(found, faces, scales, bootstrap, resize, moved)
    found.save_to(out)
    return chosen


def _opened(
    model: PathLike, data: PathLike, identities: PathLike | None
) -> tuple[GroupFace, AllPairs]:
    load_keras()
    from gfkeras.zoo.loading import load

    folder = FaceFolder(data, None if identities is None else Path(identities))
    faces = AllPairs(folder.paths, folder.labels, folder.skipped)
    return cast("GroupFace", load(model)), faces
