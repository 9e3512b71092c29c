"""`gfkeras plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._align import AlignOption, DetectorOption, FaceOption
from gfkeras.cli._output import (
    JsonOption,
    ModelArgument,
    ThreadsOption,
    columns,
    table,
    text,
    write_json,
)
from gfkeras.cli._plotting import (
    DataOption,
    Faces,
    IdentitiesOption,
    ImagesOption,
    OutOption,
    SeedOption,
    check_out,
    draw,
    face_reader,
    open_faces,
)

app = typer.Typer(
    help="The papers' figures of your own models: t-SNE, groups, margins, angles; .png or .svg.",
    no_args_is_help=False,
)


@app.command("tsne")
def tsne_command(
    model: ModelArgument,
    data: DataOption,
    out: OutOption,
    identities: IdentitiesOption = None,
    people: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Take so many people of these, those with the most images; 10 without "
            "--identities.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Draw the embedding of this model too, at left."),
    ] = None,
    images: Annotated[int, typer.Option(min=2, help="Images of each person at most.")] = 40,
    perplexity: Annotated[
        float | None, typer.Option(help="Of t-SNE; 30, or a third of the images if fewer.")
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Number the people in place of their names.")
    ] = False,
    align: AlignOption = False,
    detector: DetectorOption = None,
    face: FaceOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    json: JsonOption = None,
) -> None:
    """Draw the embeddings of some people by t-SNE: v beside v̄, and a baseline beside both.

    v is the instance embedding, v̄ with the group's added. Of a model without groups there is one
    embedding. Silhouette and nearest neighbours are of the embeddings, by cosine, not of the
    picture.
    """
    check_out(out)
    if people is None and not identities:
        people = 10
    load_keras()
    folder = open_faces(data, identities)
    from gfkeras.experiments.figures import choose_people, project, tsne_figure
    from gfkeras.inference import Embedder

    faces = Faces(choose_people(folder, people, images, seed), align, detector, face)
    embeddings = {}
    if baseline is not None:
        found = faces.outputs(Embedder(baseline, num_threads=threads), "embedding")
        embeddings["baseline"] = found["embedding"]
    found = faces.outputs(Embedder(model, num_threads=threads), "embedding", optional=("instance",))
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
    table(
        (titles[key], f"silhouette {p.silhouette:.3f}, nearest is the same person {p.nearest:.1%}")
        for key, p in panels.items()
    )
    names = [
        f"Person {number}" if anonymous else name.replace("_", " ")
        for number, name in enumerate(chosen.names, start=1)
    ]
    draw(out, tsne_figure({titles[k]: p for k, p in panels.items()}, chosen.labels, names))
    results: dict[str, Any] = {
        "images": len(chosen.paths),
        "people": names,
        "labels": chosen.labels.tolist(),
        "panels": {key: panel.to_json() for key, panel in panels.items()},
    }
    write_json(json, results | faces.to_json())


@app.command("groups")
def groups_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL|RUN…", help="A model; or run folders of `gfkeras train`, six at most."
        ),
    ],
    out: OutOption,
    data: Annotated[
        Path | None, typer.Option(help="Of a model: a folder with one folder of faces per person.")
    ] = None,
    over_training: Annotated[
        bool, typer.Option("--over-training", help="These are runs: draw the groups by epoch.")
    ] = False,
    identities: IdentitiesOption = None,
    images: ImagesOption = None,
    align: AlignOption = False,
    detector: DetectorOption = None,
    face: FaceOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    json: JsonOption = None,
) -> None:
    """Draw how faces spread over the groups, or how evenly groups were used in training.

    With --data: share of the faces of each group, by largest and by mean probability. Of runs:
    the effective number of groups, exp of the entropy of their shares, by epoch.
    """
    check_out(out)
    if over_training or (data is None and all((Path(s) / "log.csv").is_file() for s in sources)):
        if data is not None:
            raise ValueError("`data` is for a model; the log of a run has its own faces.")
        _draw_training(sources, out, json)
        return
    if data is None or len(sources) != 1:
        raise ValueError(
            "`sources` must be one model, with --data, or folders of runs. "
            f"Received: {', '.join(sources)}{'' if data else ', without --data'}"
        )
    load_keras()
    folder = open_faces(data, identities)
    from gfkeras.experiments.figures import (
        GroupDistribution,
        draw_images,
        group_distribution_figure,
    )
    from gfkeras.inference import Embedder

    faces = Faces(draw_images(folder, images, seed), align, detector, face)
    embedder = Embedder(sources[0], num_threads=threads)
    distribution = GroupDistribution.of(faces.outputs(embedder, "group_logits")["group_logits"])
    found = distribution.to_json()
    table(
        [
            ("Faces", f"{found['images']:,}"),
            ("Groups", f"{found['num_groups']}, {found['unused_groups']} of them unused"),
            ("Effective groups", found["effective_groups"]),
            ("by mean probability", found["effective_groups_soft"]),
            ("Entropy", f"{found['entropy']:.3f} nats"),
        ]
    )
    draw(out, group_distribution_figure(distribution))
    write_json(json, found | faces.to_json())


@app.command("sheet")
def sheet_command(
    model: ModelArgument,
    data: DataOption,
    out: OutOption,
    identities: IdentitiesOption = None,
    images: ImagesOption = None,
    faces_shown: Annotated[
        int, typer.Option("--faces", min=1, help="Faces of each group at most.")
    ] = 10,
    order: Annotated[
        str, typer.Option(help="random, or certain: those of largest probability first.")
    ] = "random",
    align: AlignOption = False,
    detector: DetectorOption = None,
    face: FaceOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    json: JsonOption = None,
) -> None:
    """Draw faces of each group, a row for each, a person once in a row where that is possible.

    The picture shows faces of --data: mind who may see it.
    """
    check_out(out)
    load_keras()
    folder = open_faces(data, identities)
    from gfkeras.experiments.figures import draw_images, group_sheet_figure, sheet_rows
    from gfkeras.inference import Embedder

    faces = Faces(draw_images(folder, images, seed), align, detector, face)
    embedder = Embedder(model, num_threads=threads)
    logits = faces.outputs(embedder, "group_logits")["group_logits"]
    chosen = faces.chosen
    rows = sheet_rows(logits, chosen.labels, faces_shown, order, seed)
    table((f"Group {row.group}", f"{row.faces:,} faces, {row.share:.1%}") for row in rows)
    draw(out, group_sheet_figure(rows, chosen.paths, faces.reader(embedder), logits.shape[1]))
    groups = [
        {
            "group": row.group, "faces": row.faces, "share": row.share,
            "shown": [str(chosen.paths[i]) for i in row.shown],
        }
        for row in rows
    ]  # fmt: skip
    found = {"images": len(logits), "num_groups": logits.shape[1], "groups": groups}
    write_json(json, found | faces.to_json())


@app.command("margins")
def margins_command(
    out: OutOption,
    head: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A head, such as ArcFace; again for each; all at first."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Draw the target's logit of every head over the angle to the identity's center."""
    check_out(out)
    load_keras()
    from gfkeras.experiments.figures import margin_curves, margin_figure
    from gfkeras.experiments.figures.margins import ANGLES

    curves = margin_curves(head)
    draw(out, margin_figure(curves))
    found = [
        {"head": c.head, "setting": c.setting, "norm": c.norm, "logit": c.logit.tolist()}
        for c in curves
    ]
    write_json(json, {"degrees": ANGLES.tolist(), "curves": found})


@app.command("angles")
def angles_command(
    model: ModelArgument,
    data: DataOption,
    pairs: Annotated[
        Path, typer.Option(metavar="FILE", help="A list of pairs: LFW's, CALFW's, CPLFW's, CSV.")
    ],
    out: OutOption,
    far: Annotated[
        list[float] | None,
        typer.Option(
            help="Mark the threshold of this FAR too; again for each; 1e-2 by default where pairs "
            "suffice."
        ),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    align: AlignOption = False,
    detector: DetectorOption = None,
    face: FaceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = None,
) -> None:
    """Draw the angles of genuine and of impostor pairs, and the thresholds between them."""
    check_out(out)
    load_keras()
    from gfkeras.evaluation import COSINE, evaluate_pairs, read_pairs
    from gfkeras.evaluation.metrics import far_name
    from gfkeras.experiments.figures import PairAngles, angle_figure
    from gfkeras.inference import Embedder

    listed = read_pairs(pairs, data)
    fars = far or [1e-2]
    embedder = Embedder(model, flip=flip, num_threads=threads)
    reader = face_reader(embedder, align, detector, face)
    from gfkeras.cli._progress import embedding_bar

    with embedding_bar(quiet=False) as progress:
        result = evaluate_pairs(
            lambda paths: embedder.embed_loaded(paths, lambda i: reader(paths[i]), progress),
            listed, fars, COSINE, replicates=0,
        )  # fmt: skip
    names = [far_name(value) for value in fars]
    if far is None:
        # What nobody asked for and so few pairs cannot measure is no error.
        names = [name for name in names if result.threshold_at_far[name] is not None]
    angles = PairAngles.of(result, names)
    found = angles.to_json()
    table(
        [
            (kind.capitalize(), f"{found[kind]['mean']:.2f}° ± {found[kind]['std']:.2f}°")
            for kind in ("genuine", "impostor")
        ]
        + [("Threshold", f"{angles.threshold:.2f}°, accuracy {angles.accuracy:.2%}")]
        + [(f"at FAR {name}", f"{angle:.2f}°") for name, angle in angles.at_far.items()]
    )
    draw(out, angle_figure(angles))
    files = [[str(path), reason] for path, reason in result.skipped_files]
    write_json(json, found | {"skipped": result.skipped, "skipped_files": files})


def _draw_training(runs: list[str], out: Path, json: Path | None) -> None:
    load_keras()
    from gfkeras.experiments.figures import GroupLog, group_training_figure

    logs = {Path(run).resolve().name: GroupLog.read(run) for run in runs}
    if len(logs) < len(runs):
        raise ValueError(
            f"`sources` must be folders of different names. Received: {', '.join(runs)}"
        )
    columns(
        ("run", "epochs", "effective groups, first epoch", "last", "of"),
        [
            (
                name, str(len(log.epochs)), f"{log.effective[0]:.2f}", f"{log.effective[-1]:.2f}",
                text(log.num_groups),
            )
            for name, log in logs.items()
        ],
    )  # fmt: skip
    draw(out, group_training_figure(logs))
    write_json(json, {"runs": {name: log.to_json() for name, log in logs.items()}})
