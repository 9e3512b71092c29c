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
    from gfkeras.tasks.plot_files import Plot

app = typer.Typer(
    help="Draw t-SNE, groups and angles of your own models, and margins of heads.",
    no_args_is_help=False,
)
DataOption = Annotated[Path, Option(help="Folder with one folder of faces per person.")]
OutOption = Annotated[
    Path, Option(metavar="FILE", callback=options.writable, help="Plot to write (.png or .svg).")
]
NamesOption = Annotated[
    list[str] | None,
    Option("--identity", metavar="NAME", help="Person to use. Repeatable."),
]
LimitOption = Annotated[
    int | None, Option(min=1, help="Largest number of random images. By default, all images.")
]
HeadsOption = Annotated[
    list[str] | None,
    Option(
        metavar="NAME", help="Head to draw, such as ArcFace. Repeatable. By default, all heads."
    ),
]
SeedOption = Annotated[int, Option(help="Random seed.")]


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
        help="Number of people: those with the most images. By default, all people of "
        "--identities or --identity, or 10.",
    ),
    baseline: str | None = Option(
        None, metavar="MODEL", help="Another model to compare with. Its plot is on the left."
    ),
    max_images: int = Option(40, min=2, help="Largest number of images per person."),
    perplexity: float | None = Option(
        None, help="Perplexity of t-SNE. By default, 30, or a third of the images if that is less."
    ),
    anonymous: bool = Option(
        False, "--anonymous", help="Show numbers instead of the names of people."
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
    """Draw the embeddings of some people with t-SNE.

    The plots show v, the instance embedding, next to v̄, which has the group embedding added. A
    model without groups has one plot. Silhouette and nearest neighbours are measured on the
    embeddings with the cosine, not on the plot.
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
            metavar="MODEL|RUN…", help="One model, or up to six run folders of `gfkeras train`."
        ),
    ],
    out: OutOption,
    data: Annotated[
        Path | None, Option(help="For a model: folder with one folder of faces per person.")
    ] = None,
    over_training: bool = Option(
        False, "--over-training", help="For runs: draw the number of groups by epoch."
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
    """Draw the use of groups by faces or during training.

    For a model with --data: the share of faces in each group, by largest and by mean probability.
    For runs: the effective number of groups by epoch, which is exp of the entropy of their shares.
    """
    from gfkeras.tasks import plot

    # Run folders are recognised by their log, so --over-training can be left out.
    if over_training or (data is None and all((Path(s) / "log.csv").is_file() for s in sources)):
        if data is not None:
            raise ValueError(f"`data` must be left out for runs. Received: data={str(data)!r}")
        _report_training(plot.group_training(sources, out), json)
        return
    if data is None or len(sources) != 1:
        raise ValueError(
            "`sources` must be one model with --data, or folders of runs. "
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
    faces_shown: int = Option(10, "--faces", min=1, help="Largest number of faces per group."),
    order: str = Option(
        "random", help="Order of faces: random, or certain (largest probability first)."
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
    """Draw faces of each group, one group per row.

    A row shows a person once if it has enough people. The image shows faces of --data: share it
    only if these people agree.
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
def margins_command(out: OutOption, head: HeadsOption = None, json: options.Json = None) -> None:
    """Draw each head's target logit over the angle to the center."""
    from gfkeras.tasks import plot

    _report(plot.margins(out, head), json)


@app.command("boundaries")
def boundaries_command(out: OutOption, head: HeadsOption = None, json: options.Json = None) -> None:
    """Draw where each head decides between two classes, over the angles to their centers."""
    from gfkeras.tasks import plot

    _report(plot.boundaries(out, head), json)


@app.command("toy")
def toy_command(
    out: OutOption,
    data: Annotated[
        Path | None,
        Option(help="Folder with one folder of faces per person. By default, synthetic faces."),
    ] = None,
    head: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Head to train, such as ArcFace. Repeatable. By default, Softmax, NormSoftmax, "
            "SphereFace, CosFace and ArcFace.",
        ),
    ] = None,
    dimensions: int = Option(2, min=2, max=3, help="Width of the embedding, 2 or 3."),
    identities: options.Identities = None,
    names: NamesOption = None,
    people: int = Option(8, min=2, help="Number of people: those with the most images."),
    max_images: int = Option(60, min=2, help="Largest number of images per person."),
    epochs: int = Option(40, min=1, help="Epochs of training."),
    seed: SeedOption = 0,
    json: options.Json = None,
) -> None:
    """Train a small network with each head and draw its 2-D or 3-D embeddings.

    The plot shows the embeddings as they are, and their directions with the angular margins.
    """
    from gfkeras.tasks import plot

    with stages() as progress:
        drawn = plot.toy(
            out, data, heads=head, dimensions=dimensions, identities=_people(identities, names),
            people=people, max_images=max_images, epochs=epochs, seed=seed, progress=progress,
        )  # fmt: skip
    _report(drawn, json)


@app.command("angles")
def angles_command(
    model: options.ModelArgument,
    data: DataOption,
    pairs: Annotated[
        Path,
        Option(metavar="FILE", help="List of pairs in the format of LFW, CALFW, CPLFW or CSV."),
    ],
    out: OutOption,
    far: Annotated[
        list[float] | None,
        Option(
            help="Also mark the threshold at this false accept rate. Repeatable. By default, 1e-2 "
            "if there are enough pairs."
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
    """Draw the angles of genuine and impostor pairs, with thresholds."""
    from gfkeras.tasks import plot

    with stages() as progress:
        drawn = plot.angles(
            options.model_file(model, input_range, trust),
            data, pairs, out, far=far, flip=flip, align=align, detector=detector, face=face,
            threads=threads, progress=progress,
        )  # fmt: skip
    _report(drawn, json, list_files=False)


def _people(file: Path | None, names: list[str] | None) -> Path | list[str] | None:
    """Returns the people of --identities or --identity, or None for all people."""
    if file is not None and names:
        raise ValueError(
            f"`identity` cannot be combined with --identities. Received: {names} and {file}"
        )
    return file or names


def _report(drawn: Plot, json: Path | None, list_files: bool = True) -> None:
    if list_files:
        list_skipped(drawn.skipped or ())
    if drawn.summary:
        table(drawn.summary)
    say(f"Plot: {drawn.path}")
    write_json(json, drawn.to_json())


def _report_training(drawn: Plot, json: Path | None) -> None:
    rows = [
        (name, len(log["epochs"]), *(f"{log['effective_groups'][i]:.2f}" for i in (0, -1)),
         log["num_groups"])
        for name, log in drawn.numbers["runs"].items()
    ]  # fmt: skip
    columns(("run", "epochs", "effective groups, first epoch", "last", "of"), rows)
    _report(drawn, json)
