"""The papers' figures of a user's own models, as files and numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.backend import load_keras
from gfkeras.data import FaceFolder
from gfkeras.errors import require
from gfkeras.evaluation import COSINE, evaluate_pairs, read_pairs
from gfkeras.evaluation.metrics import far_name
from gfkeras.evaluation.plots import save_figure
from gfkeras.files import PathLike
from gfkeras.inference import Embedder
from gfkeras.tasks.alignment import Alignment, face_reader, make_alignment
from gfkeras.tasks.reporting import Progress, skipped_json, stage_progress
from gfkeras.zoo.preset_files import keras_source

if TYPE_CHECKING:
    from gfkeras.experiments.figures import ChosenImages


@dataclass(frozen=True)
class Plot:
    """A figure that was drawn."""

    path: Path
    # What the figure shows, for JSON.
    numbers: dict[str, Any]
    # (file, reason) of images that could not be used; None where no images are read.
    skipped: list[tuple[Path, str]] | None = None
    # (label, text) of the most important numbers.
    summary: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The numbers, and the images that were left out."""
        return self.numbers | ({} if self.skipped is None else skipped_json(self.skipped))


def tsne(
    model: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    identities: Sequence[str] | PathLike | None = None,
    people: int | None = None,
    baseline: str | None = None,
    max_images: int = 40,
    perplexity: float | None = None,
    anonymous: bool = False,
    align: bool = False,
    detector: Path | None = None,
    face: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Plot:
    """Draws the embeddings of some people by t-SNE.

    v, the instance embedding, stands beside v̄, which has the group's added, and a baseline's
    embedding beside both. Silhouette and nearest neighbours are of the embeddings, by cosine.

    Args:
        model: a preset, a model folder or an artefact.
        data: a folder with one folder of faces per person.
        out: the .png or .svg to write.
        identities: names of people, or a text file of names; all by default.
        people: how many of these to take, those with the most images; 10 without `identities`.
        baseline: another model, drawn at left.
        max_images: of each person at most.
        perplexity: of t-SNE; 30, or a third of the images if fewer.
        anonymous: numbers the people instead of naming them.
        align, detector, face: as of `gfkeras.tasks.evaluate.evaluate`.
        threads: of the runtime.
        seed: of the draw and of t-SNE.
        progress: called with ("Embedding", images done, images).

    Returns:
        A `Plot`; its numbers have "panels" with "silhouette", "nearest_same" and "points".

    Raises:
        ValueError: for a missing folder or model, and people who have too few images.

    Example:
        tsne("h_groupface_mobilefacenet", "lfw", "people.png", people=8)
    """
    out, alignment, folder = _opened(out, data, identities, align, detector, face)
    from gfkeras.experiments.figures import choose_people, project, tsne_figure

    if people is None and identities is None:
        people = 10
    faces = _Faces(choose_people(folder, people, max_images, seed), alignment, progress)
    embeddings = {}
    if baseline is not None:
        other = Embedder(baseline, num_threads=threads)
        embeddings["baseline"] = faces.outputs(other, "embedding")["embedding"]
    # A preset's artefact lacks v.
    embedder = Embedder(keras_source(model), num_threads=threads)
    found = faces.outputs(embedder, "embedding", optional=("instance",))
    if "instance" in found:
        embeddings["instance"] = found["instance"]
    embeddings["embedding"] = found["embedding"]
    chosen = faces.chosen
    panels = {
        key: project(embedding, chosen.labels, perplexity, seed)
        for key, embedding in embeddings.items()
    }
    titles = {
        "baseline": "Baseline",
        "instance": "v, of the person alone",
        "embedding": "v̄, with the group" if "instance" in found else "Embedding",
    }
    names = [
        f"Person {number}" if anonymous else name.replace("_", " ")
        for number, name in enumerate(chosen.names, start=1)
    ]
    figure = tsne_figure({titles[k]: p for k, p in panels.items()}, chosen.labels, names)
    numbers = {
        "images": len(chosen.paths),
        "people": names,
        "labels": chosen.labels.tolist(),
        "panels": {key: panel.to_json() for key, panel in panels.items()},
    }
    measured = "silhouette {0.silhouette:.3f}, nearest is the same person {0.nearest:.1%}"
    summary = [(titles[key], measured.format(panel)) for key, panel in panels.items()]
    return Plot(save_figure(figure, out), numbers, [*faces.skipped, *folder.skipped], summary)


def groups(
    model: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    identities: Sequence[str] | PathLike | None = None,
    limit: int | None = None,
    align: bool = False,
    detector: Path | None = None,
    face: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Plot:
    """Draws the share of the faces of each group, by largest and by mean probability.

    The arguments that are not listed are those of `tsne`.

    Args:
        limit: at most so many images, drawn from all by `seed`; all by default.

    Raises:
        ValueError: for a model without groups, and a missing folder or model.

    Example:
        groups("h_groupface_mobilefacenet", "lfw", "groups.png").numbers["effective_groups"]
    """
    out, alignment, folder = _opened(out, data, identities, align, detector, face)
    from gfkeras.experiments import figures

    faces = _Faces(figures.draw_images(folder, limit, seed), alignment, progress)
    embedder = Embedder(model, num_threads=threads)
    logits = faces.outputs(embedder, "group_logits")["group_logits"]
    distribution = figures.GroupDistribution.of(logits)
    path = save_figure(figures.group_distribution_figure(distribution), out)
    found = distribution.to_json()
    summary = [
        ("Faces", f"{found['images']:,}"),
        ("Groups", f"{found['num_groups']}, {found['unused_groups']} of them unused"),
        ("Effective groups", f"{found['effective_groups']:.5g}"),
        ("by mean probability", f"{found['effective_groups_soft']:.5g}"),
        ("Entropy", f"{found['entropy']:.3f} nats"),
    ]
    return Plot(path, found, [*faces.skipped, *folder.skipped], summary)


def group_training(runs: Sequence[PathLike], out: PathLike) -> Plot:
    """Draws how evenly groups were used in training, by epoch.

    Args:
        runs: run folders of `train`, six at most, of different names.
        out: the .png or .svg to write.

    Raises:
        ValueError: for a folder without the log of a training with groups.

    Example:
        group_training(["runs/naive", "runs/self-distributed"], "epochs.svg")
    """
    out = check_out(out)
    load_keras()
    from gfkeras.experiments.figures import GroupLog, group_training_figure

    logs = {Path(run).resolve().name: GroupLog.read(run) for run in runs}
    if len(logs) < len(runs):
        raise ValueError(
            f"`sources` must be folders of different names. Received: {', '.join(map(str, runs))}"
        )
    path = save_figure(group_training_figure(logs), out)
    return Plot(path, {"runs": {name: log.to_json() for name, log in logs.items()}})


def sheet(
    model: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    identities: Sequence[str] | PathLike | None = None,
    limit: int | None = None,
    faces_shown: int = 10,
    order: str = "random",
    align: bool = False,
    detector: Path | None = None,
    face: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Plot:
    """Draws faces of each group, a row for each group.

    A person appears once in a row where that is possible. The plot shows faces of `data`: mind
    who may see it. The arguments that are not listed are those of `groups`.

    Args:
        faces_shown: faces of each group at most.
        order: "random", or "certain" for the largest probability first.

    Raises:
        ValueError: for a model without groups, and a missing folder or model.

    Example:
        sheet("h_groupface_mobilefacenet", "lfw", "sheet.png", order="certain")
    """
    out, alignment, folder = _opened(out, data, identities, align, detector, face)
    from gfkeras.experiments.figures import draw_images, group_sheet_figure, sheet_rows

    faces = _Faces(draw_images(folder, limit, seed), alignment, progress)
    embedder = Embedder(model, num_threads=threads)
    logits = faces.outputs(embedder, "group_logits")["group_logits"]
    chosen = faces.chosen
    rows = sheet_rows(logits, chosen.labels, faces_shown, order, seed)
    figure = group_sheet_figure(rows, chosen.paths, faces.reader(embedder), logits.shape[1])
    shown = [
        {
            "group": row.group, "faces": row.faces, "share": row.share,
            "shown": [str(chosen.paths[i]) for i in row.shown]
        }
        for row in rows
    ]  # fmt: skip
    numbers = {"images": len(logits), "num_groups": logits.shape[1], "groups": shown}
    summary = [(f"Group {row.group}", f"{row.faces:,} faces, {row.share:.1%}") for row in rows]
    return Plot(save_figure(figure, out), numbers, [*faces.skipped, *folder.skipped], summary)


def margins(out: PathLike, heads: Sequence[str] | None = None) -> Plot:
    """Draws the target's logit of heads over the angle to the identity's center.

    Args:
        out: the .png or .svg to write.
        heads: names such as "ArcFace"; all by default.

    Raises:
        ValueError: for an unknown head.

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


def angles(
    model: PathLike,
    data: PathLike,
    pairs: PathLike,
    out: PathLike,
    *,
    far: Sequence[float] | None = None,
    flip: bool = False,
    align: bool = False,
    detector: Path | None = None,
    face: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Plot:
    """Draws the angles of genuine and of impostor pairs, and the thresholds between them.

    The arguments that are not listed are those of `tsne`.

    Args:
        pairs: a list of pairs: LFW's, CALFW's, CPLFW's, CSV.
        far: marks the threshold of these FARs too; 1e-2 by default where the pairs suffice.
        flip: add the embedding of the mirrored image.

    Raises:
        ValueError: for a missing list, folder or model, and a FAR that the pairs cannot measure.

    Example:
        angles("model.tflite", "lfw", "pairs.txt", "angles.png").numbers["threshold"]
    """
    out = check_out(out)
    listed = read_pairs(pairs, data)
    alignment = make_alignment(align, detector, face)
    load_keras()
    from gfkeras.experiments.figures import PairAngles, angle_figure

    embedder = Embedder(model, flip=flip, num_threads=threads)
    read = face_reader(alignment(embedder.image_size), embedder.image_size)
    moved = stage_progress(progress, "Embedding")
    fars = list(far or [1e-2])

    def embed(paths: list[Path]) -> Any:
        return embedder.embed_loaded(paths, lambda i: read(paths[i]), moved)

    result = evaluate_pairs(embed, listed, fars, COSINE, replicates=0)
    names = [far_name(value) for value in fars]
    if far is None:
        # The default FAR is left out where so few pairs cannot measure it.
        names = [name for name in names if result.threshold_at_far[name] is not None]
    found = PairAngles.of(result, names)
    numbers = found.to_json()
    summary = [
        (kind.capitalize(), f"{numbers[kind]['mean']:.2f}° ± {numbers[kind]['std']:.2f}°")
        for kind in ("genuine", "impostor")
    ]
    summary.append(("Threshold", f"{found.threshold:.2f}°, accuracy {found.accuracy:.2%}"))
    summary += [(f"at FAR {name}", f"{angle:.2f}°") for name, angle in found.at_far.items()]
    return Plot(save_figure(angle_figure(found), out), numbers, result.skipped_files, summary)


def check_out(out: PathLike) -> Path:
    """Returns the file to draw; raises before the work for what would make drawing fail."""
    if Path(out).suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"`out` must end in .png or .svg. Received: out={str(out)!r}")
    require("matplotlib", "plots")
    return Path(out)


def _opened(
    out: PathLike,
    data: PathLike,
    identities: Sequence[str] | PathLike | None,
    align: bool,
    detector: Path | None,
    face: str | None,
) -> tuple[Path, Alignment, FaceFolder]:
    """What every figure of faces needs, checked before a model is opened."""
    out = check_out(out)
    folder = FaceFolder(data, identities)
    alignment = make_alignment(align, detector, face)
    load_keras()
    return out, alignment, folder


class _Faces:
    """The images of a figure, and what networks return for them."""

    def __init__(self, chosen: ChosenImages, alignment: Alignment, progress: Progress | None):
        self.chosen, self._alignment, self._progress = chosen, alignment, progress
        self.skipped: list[tuple[Path, str]] = []

    def reader(self, embedder: Embedder) -> Callable[[Path], np.ndarray]:
        """From a file to a face of the size that the network takes."""
        return face_reader(self._alignment(embedder.image_size), embedder.image_size)

    def outputs(
        self, embedder: Embedder, *keys: str, optional: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Outputs of a network, a row for each image that can be used.

        The others leave `chosen`, so that all networks get the same images.
        """
        from gfkeras.experiments.figures import network_outputs

        found = network_outputs(
            embedder, self.chosen.paths, keys, optional, self.reader(embedder),
            stage_progress(self._progress, "Embedding"),
        )  # fmt: skip
        self.chosen = self.chosen.take(found.index)
        self.skipped += found.skipped
        return found.values
