"""Plots of a user's models, as files and numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfkeras.backend import load_keras
from gfkeras.errors import wrong
from gfkeras.evaluation import COSINE, evaluate_pairs, read_pairs
from gfkeras.evaluation.metrics import far_name
from gfkeras.evaluation.plots import save_figure
from gfkeras.files import PathLike
from gfkeras.inference import Embedder
from gfkeras.tasks.alignment import face_reader, make_alignment
from gfkeras.tasks.plot_files import Plot, PlotFaces, check_out, of_model, opened
from gfkeras.tasks.plot_heads import boundaries as boundaries
from gfkeras.tasks.plot_heads import margins as margins
from gfkeras.tasks.plot_heads import toy as toy
from gfkeras.tasks.reporting import Progress, stage_progress
from gfkeras.zoo.preset_files import keras_source


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
    """Draws the embeddings of some people with t-SNE.

    The plots show v, the instance embedding, next to v̄, which has the group embedding added. A
    model without groups has one plot. Silhouette and nearest neighbours use the cosine of the
    embeddings, not the plot.

    Args:
        model: a preset, a model folder or an artefact.
        data: folder with one folder of faces per person.
        out: plot to write (.png or .svg).
        identities: names of people, or a text file of names. By default, all people.
        people: number of people: those with the most images. By default, all of `identities`, or
            10.
        baseline: another model to compare with. Its plot is on the left.
        max_images: largest number of images per person.
        perplexity: perplexity of t-SNE. By default, 30, or a third of the images if that is less.
        anonymous: show numbers instead of the names of people.
        align, detector, face: as for `gfkeras.tasks.evaluate.evaluate`.
        threads: threads of the runtime. By default, the runtime chooses.
        seed: random seed for the images and t-SNE.
        progress: called with ("Embedding", images done, number of images).

    Returns:
        A `Plot`. Its numbers have "panels" with "silhouette", "nearest_same" and "points".

    Raises:
        ValueError: if the folder or model is missing, or if people have too few images.

    Example:
        tsne("h_groupface_mobilefacenet", "lfw", "people.png", people=8)
    """
    out, alignment, folder = opened(out, data, identities, align, detector, face)
    from gfkeras.experiments.figures import choose_people, project, tsne_figure

    # By default ten people: more than ten colours are hard to tell apart.
    if people is None and identities is None:
        people = 10
    faces = PlotFaces(choose_people(folder, people, max_images, seed), alignment, progress)
    embeddings = {}
    if baseline is not None:
        other = Embedder(baseline, num_threads=threads)
        embeddings["baseline"] = faces.outputs(other, "embedding")["embedding"]
    # An artefact of a preset has no output v, so its Keras model is opened instead.
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
        "instance": "v, instance only",
        "embedding": "v̄, instance and group" if "instance" in found else "Embedding",
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
    path = save_figure(figure, out, of_model(model, data))
    return Plot(path, numbers, [*faces.skipped, *folder.skipped], summary)


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
    """Draws the share of faces in each group, by largest and by mean probability.

    The other arguments are the same as for `tsne`.

    Args:
        limit: largest number of images, chosen at random. By default, all images.

    Raises:
        ValueError: if the model has no groups, or if the folder or model is missing.

    Example:
        groups("h_groupface_mobilefacenet", "lfw", "groups.png").numbers["effective_groups"]
    """
    out, alignment, folder = opened(out, data, identities, align, detector, face)
    from gfkeras.experiments import figures

    faces = PlotFaces(figures.draw_images(folder, limit, seed), alignment, progress)
    embedder = Embedder(model, num_threads=threads)
    logits = faces.outputs(embedder, "group_logits")["group_logits"]
    distribution = figures.GroupDistribution.of(logits)
    path = save_figure(figures.group_distribution_figure(distribution), out, of_model(model, data))
    found = distribution.to_json()
    summary = [
        ("Faces", f"{found['images']:,}"),
        ("Groups", f"{found['num_groups']}, {found['unused_groups']} of them unused"),
        ("Effective groups", f"{found['effective_groups']:.5g}"),
        ("Effective groups, by mean probability", f"{found['effective_groups_soft']:.5g}"),
        ("Entropy", f"{found['entropy']:.3f} nats"),
    ]
    return Plot(path, found, [*faces.skipped, *folder.skipped], summary)


def group_training(runs: Sequence[PathLike], out: PathLike) -> Plot:
    """Draws how evenly training used the groups, by epoch.

    Args:
        runs: up to six run folders of `train` with different names.
        out: plot to write (.png or .svg).

    Raises:
        ValueError: if a folder has no log of a run with groups.

    Example:
        group_training(["runs/naive", "runs/self-distributed"], "epochs.svg")
    """
    out = check_out(out)
    load_keras()
    from gfkeras.experiments.figures import GroupLog, group_training_figure

    # The name of the folder is the name of the curve, so names must differ.
    logs = {Path(run).resolve().name: GroupLog.read(run) for run in runs}
    if len(logs) < len(runs):
        raise wrong("sources", "be folders with different names", ", ".join(map(str, runs)))
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
    """Draws faces of each group, one group per row.

    A row shows a person once if it has enough people. The image shows faces of `data`: share it
    only if these people agree. The other arguments are the same as for `groups`.

    Args:
        faces_shown: largest number of faces per group.
        order: "random", or "certain" for the largest probability first.

    Raises:
        ValueError: if the model has no groups, or if the folder or model is missing.

    Example:
        sheet("h_groupface_mobilefacenet", "lfw", "sheet.png", order="certain")
    """
    out, alignment, folder = opened(out, data, identities, align, detector, face)
    from gfkeras.experiments.figures import draw_images, group_sheet_figure, sheet_rows

    faces = PlotFaces(draw_images(folder, limit, seed), alignment, progress)
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
    path = save_figure(figure, out, of_model(model, data))
    return Plot(path, numbers, [*faces.skipped, *folder.skipped], summary)


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
    """Draws the angles of genuine and impostor pairs, with thresholds.

    The other arguments are the same as for `tsne`.

    Args:
        pairs: list of pairs in the format of LFW, CALFW, CPLFW or CSV.
        far: also mark the thresholds at these false accept rates. By default, 1e-2 if there are
            enough pairs.
        flip: also embed the mirror image, and add the two embeddings.

    Raises:
        ValueError: if the list, folder or model is missing, or if a FAR needs more pairs.

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
        # Nobody asked for the default FAR, so it is left out if there are too few pairs for it.
        names = [name for name in names if result.threshold_at_far[name] is not None]
    found = PairAngles.of(result, names)
    numbers = found.to_json()
    summary = [
        (kind.capitalize(), f"{numbers[kind]['mean']:.2f}° ± {numbers[kind]['std']:.2f}°")
        for kind in ("genuine", "impostor")
    ]
    summary.append(("Threshold", f"{found.threshold:.2f}°, accuracy {found.accuracy:.2%}"))
    summary += [(f"at FAR {name}", f"{angle:.2f}°") for name, angle in found.at_far.items()]
    path = save_figure(angle_figure(found), out, of_model(model, pairs))
    return Plot(path, numbers, result.skipped_files, summary)
