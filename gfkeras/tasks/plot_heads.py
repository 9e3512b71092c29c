"""Plots of margin heads, without a user's model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gfkeras.backend import load_keras
from gfkeras.data import FaceFolder
from gfkeras.data.faces import decode_files
from gfkeras.evaluation.plots import save_figure
from gfkeras.files import PathLike
from gfkeras.tasks.plot_files import Plot, check_out
from gfkeras.tasks.reporting import Progress, stage_progress


def margins(out: PathLike, heads: Sequence[str] | None = None) -> Plot:
    """Draws each head's target logit over the angle between embedding and center.

    Args:
        out: plot to write (.png or .svg).
        heads: names of heads, such as "ArcFace". By default, all heads.

    Raises:
        ValueError: if a head is unknown.

    Example:
        margins("margins.svg", ["ArcFace", "CosFace"])
    """
    out = check_out(out)
    load_keras()
    from gfkeras.experiments.figures import margin_curves, margin_figure
    from gfkeras.experiments.figures.margins import ANGLES

    curves = margin_curves(heads)
    found = [dataclasses.asdict(curve) | {"logit": curve.logit.tolist()} for curve in curves]
    path = save_figure(margin_figure(curves), out)
    return Plot(path, {"degrees": ANGLES.tolist(), "curves": found})


def boundaries(out: PathLike, heads: Sequence[str] | None = None) -> Plot:
    """Draws where each head decides between two classes, over the angles to their centers.

    Arguments and errors are those of `margins`.

    Example:
        boundaries("boundaries.svg", ["Softmax", "ArcFace"])
    """
    out = check_out(out)
    load_keras()
    from gfkeras.experiments.figures import boundary_figure, decision_boundaries

    found = decision_boundaries(heads)
    numbers = [{"head": b.head, "setting": b.setting, "gap": b.gap} for b in found]
    return Plot(save_figure(boundary_figure(found), out), {"boundaries": numbers})


def toy(
    out: PathLike,
    data: PathLike | None = None,
    *,
    heads: Sequence[str] | None = None,
    dimensions: int = 2,
    identities: Sequence[str] | PathLike | None = None,
    people: int = 8,
    max_images: int = 60,
    epochs: int = 40,
    seed: int = 0,
    progress: Progress | None = None,
) -> Plot:
    """Trains a small network in 2 or 3 dimensions with each head, and draws the embeddings.

    Args:
        out: plot to write (.png or .svg).
        data: folder with one folder of aligned faces per person. By default, synthetic faces.
        heads: names of heads. By default, Softmax, NormSoftmax, SphereFace, CosFace and ArcFace.
        dimensions: width of the embedding, 2 or 3.
        identities: names of people, or a text file of names. By default, all people.
        people: number of people: those with the most images.
        max_images: largest number of images per person.
        epochs: epochs of training.
        seed: random seed for images and training.
        progress: called with ("Training", heads done, number of heads).

    Returns:
        A `Plot`. Its numbers have "heads", each with "accuracy", "own" and "margin" in degrees.

    Raises:
        ValueError: if a head is unknown, or if people have too few images.

    Example:
        toy("toy.png", "lfw").numbers["heads"][-1]["margin"]
    """
    out = check_out(out)
    folder = None if data is None else FaceFolder(data, identities)
    load_keras()
    from gfkeras.data.synthetic import synthetic_faces
    from gfkeras.experiments import figures
    from gfkeras.experiments.figures.toy import TOY_HEADS

    names = list(heads or TOY_HEADS)
    skipped: list[tuple[Path, str]] = []
    figures.check_toy(names, dimensions, epochs)
    if folder is None:
        images, labels = synthetic_faces(people, max_images, seed)
        source = "synthetic faces"
    else:
        chosen = figures.choose_people(folder, people, max_images, seed)
        images, kept, skipped, _ = decode_files(chosen.paths)
        if not kept:
            raise ValueError(
                f"None of the {len(skipped)} images can be used. "
                f"The last: {skipped[-1][0]}: {skipped[-1][1]}"
            )
        # Identities are numbered again, because all images of one can be unreadable.
        people_left, labels = np.unique(chosen.labels[kept], return_inverse=True)
        if len(people_left) < 2:
            raise ValueError(
                "`data` must have readable images of two people or more. Received: one person, "
                f"and {len(skipped)} unreadable images, such as {skipped[-1][0]}"
            )
        source = f"faces of {Path(folder.root).name}"
    report = stage_progress(progress, "Training") or (lambda done, total: None)
    toys = []
    for done, name in enumerate(names):
        report(done, len(names))
        toys.append(figures.train_toy(name, images, labels, dimensions, epochs, seed))
    report(len(names), len(names))
    count = len(set(labels.tolist()))
    title = f"Small CNN, {dimensions}-D embeddings of {len(images)} {source}, {count} identities"
    found = [toy.to_json() for toy in toys]
    numbers = {"images": len(images), "labels": labels.tolist(), "heads": found}
    measured = "own center {own:.1f}°, margin {margin:.1f}°, accuracy {accuracy:.1%}"
    summary = [(each["head"], measured.format(**each)) for each in found]
    path = save_figure(figures.toy_figure(toys, title), out)
    return Plot(path, numbers, skipped if folder is None else [*skipped, *folder.skipped], summary)
