"""`gfkeras plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from gfkeras.cli import options
from gfkeras.cli.output import columns, list_skipped, say, table, write_json
from gfkeras.cli.progress import stages

if TYPE_CHECKING:
    from gfkeras.tasks.plot import Plot

app = typer.Typer(
    help="The papers' figures of your own models: t-SNE, groups, margins, angles; .png or .svg.",
    no_args_is_help=False,
)
DataOption = Annotated[Path, Option(help="A folder with one folder of faces per person.")]
OutOption = Annotated[Path, Option(metavar="FILE", help="The picture to write: .png or .svg.")]
NamesOption = Annotated[
    list[str] | None, Option("--identity", metavar="NAME", help="A person to take; again for each.")
]
LimitOption = Annotated[
    int | None, Option(min=1, help="At most so many images, drawn from all; all by default.")
]
SeedOption = Annotated[int, Option(help="Of what is drawn.")]


@app.command("tsne")
def tsne_command(
    model: options.ModelArgument,
    data: DataOption,
    out: OutOption,
    identities: options.Identities = None,
    names: NamesOption = None,
    people: int | None = Option(
        None,
        min=2,
        help="Take so many people of these, those with the most images; 10 without "
        "--identities and --identity.",
    ),
    baseline: str | None = Option(
        None, metavar="MODEL", help="Draw the embedding of this model too, at left."
    ),
    max_images: int = Option(40, min=2, help="Images of each person at most."),
    perplexity: float | None = Option(
        None, help="Of t-SNE; 30, or a third of the images if fewer."
    ),
    anonymous: bool = Option(
        False, "--anonymous", help="Number the people in place of their names."
    ),
    align: options.Align = False,
    detector: options.Detector = None,
    face: options.Face = None,
    threads: options.Threads = None,
    seed: SeedOption = 0,
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Draw the embeddings of some people by t-SNE: v beside v̄, and a baseline beside both.

    v is the instance embedding, v̄ with the group's added. Of a model without groups there is one
    embedding. Silhouette and nearest neighbours are of the embeddings, by cosine, not of the
    picture.
    """
    from gfkeras.tasks import plot

    with stages() as progress:
        drawn = plot.tsne(
            options.model_file(model, input_range, trust),
            data, out, identities=_people(identities, names), people=people,
            baseline=baseline, max_images=max_images, perplexity=perplexity, anonymous=anonymous,
            align=align, detector=detector, face=face, threads=threads, seed=seed,
            progress=progress,
        )  # fmt: skip
    _report(drawn, json)


@app.command("groups")
def groups_command(
    sources: Annotated[
        list[str],
        Argument(
            metavar="MODEL|RUN…", help="A model; or run folders of `gfkeras train`, six at most."
        ),
    ],
    out: OutOption,
    data: Annotated[
        Path | None, Option(help="Of a model: a folder with one folder of faces per person.")
    ] = None,
    over_training: bool = Option(
        False, "--over-training", help="These are runs: draw the groups by epoch."
    ),
    identities: options.Identities = None,
    names: NamesOption = None,
    limit: LimitOption = None,
    align: options.Align = False,
    detector: options.Detector = None,
    face: options.Face = None,
    threads: options.Threads = None,
    seed: SeedOption = 0,
    json: options.Json = None,
) -> None:
    """Draw how faces spread over the groups, or how evenly groups were used in training.

    With --data: share of the faces of each group, by largest and by mean probability. Of runs:
    the effective number of groups, exp of the entropy of their shares, by epoch.
    """
    from gfkeras.tasks import plot

    if over_training or (data is None and all((Path(s) / "log.csv").is_file() for s in sources)):
        if data is not None:
            raise ValueError("`data` is for a model; the log of a run has its own faces.")
        _report_training(plot.group_training(sources, out), json)
        return
    if data is None or len(sources) != 1:
        raise ValueError(
            "`sources` must be one model, with --data, or folders of runs. "
            f"Received: {', '.join(sources)}{'' if data else ', without --data'}"
        )
    with stages() as progress:
        drawn = plot.groups(
            sources[0], data, out, identities=_people(identities, names), limit=limit, align=align,
            detector=detector, face=face, threads=threads, seed=seed, progress=progress,
        )  # fmt: skip
    _report(drawn, json)


@app.command("sheet")
def sheet_command(
    model: options.ModelArgument,
    data: DataOption,
    out: OutOption,
    identities: options.Identities = None,
    names: NamesOption = None,
    limit: LimitOption = None,
    faces_shown: int = Option(10, "--faces", min=1, help="Faces of each group at most."),
    order: str = Option("random", help="random, or certain: those of largest probability first."),
    align: options.Align = False,
    detector: options.Detector = None,
    face: options.Face = None,
    threads: options.Threads = None,
    seed: SeedOption = 0,
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Draw faces of each group, a row for each, a person once in a row where that is possible.

    The picture shows faces of --data: mind who may see it.
    """
    from gfkeras.tasks import plot

    with stages() as progress:
        drawn = plot.sheet(
            options.model_file(model, input_range, trust),
            data, out, identities=_people(identities, names), limit=limit,
            faces_shown=faces_shown, order=order, align=align, detector=detector, face=face,
            threads=threads, seed=seed, progress=progress,
        )  # fmt: skip
    _report(drawn, json)


@app.command("margins")
def margins_command(
    out: OutOption,
    head: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="A head, such as ArcFace; again for each; all at first."),
    ] = None,
    json: options.Json = None,
) -> None:
    """Draw the target's logit of every head over the angle to the identity's center."""
    from gfkeras.tasks import plot

    _report(plot.margins(out, head), json)


@app.command("angles")
def angles_command(
    model: options.ModelArgument,
    data: DataOption,
    pairs: Annotated[
        Path, Option(metavar="FILE", help="A list of pairs: LFW's, CALFW's, CPLFW's, CSV.")
    ],
    out: OutOption,
    far: Annotated[
        list[float] | None,
        Option(
            help="Mark the threshold of this FAR too; again for each; 1e-2 by default where pairs "
            "suffice."
        ),
    ] = None,
    flip: options.Flip = False,
    align: options.Align = False,
    detector: options.Detector = None,
    face: options.Face = None,
    threads: options.Threads = None,
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Draw the angles of genuine and of impostor pairs, and the thresholds between them."""
    from gfkeras.tasks import plot

    with stages() as progress:
        drawn = plot.angles(
            options.model_file(model, input_range, trust),
            data, pairs, out, far=far, flip=flip, align=align, detector=detector, face=face,
            threads=threads, progress=progress,
        )  # fmt: skip
    _report(drawn, json, list_files=False)


def _people(file: Path | None, names: list[str] | None) -> Path | list[str] | None:
    """The people of --identities or --identity; None for all."""
    if file is not None and names:
        raise ValueError(f"`identity` goes without --identities. Received: {names} and {file}")
    return file or names


def _report(drawn: Plot, json: Path | None, list_files: bool = True) -> None:
    if list_files:
        list_skipped(drawn.skipped or ())
    if drawn.summary:
        table(drawn.summary)
    say(f"Picture: {drawn.path}")
    write_json(json, drawn.to_json())


def _report_training(drawn: Plot, json: Path | None) -> None:
    rows = [
        (name, len(log["epochs"]), *(f"{log['effective_groups'][i]:.2f}" for i in (0, -1)),
         log["num_groups"])
        for name, log in drawn.numbers["runs"].items()
    ]  # fmt: skip
    columns(("run", "epochs", "effective groups, first epoch", "last", "of"), rows)
    _report(drawn, json)
