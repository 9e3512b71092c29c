"""`gfkeras evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfkeras.cli._backend import load_keras
from gfkeras.cli._output import JsonOption, ModelArgument, ThreadsOption, say, table, write_json

if TYPE_CHECKING:
    from gfkeras.evaluation.pairs import PairList


def command(
    model: ModelArgument,
    data: Annotated[Path, typer.Option(help="Folder with one folder of images per person.")],
    pairs: Annotated[
        str, typer.Option(help="A pairs file, 'all', or a number of pairs to draw at random.")
    ],
    protocol: Annotated[str, typer.Option(help="What to measure; 'pairs' is what there is.")] = (
        "pairs"
    ),
    identities: Annotated[
        Path | None,
        typer.Option(help="With --pairs all or a number: text file with the people to take."),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    group_aware: Annotated[
        bool, typer.Option("--group-aware", help="Score by the group-aware similarity.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the ROC here (.png or .svg).")
    ] = None,
    threads: ThreadsOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images embedded at once.")] = 64,
    seed: Annotated[int, typer.Option(help="Of drawn pairs and of folds.")] = 0,
    json: JsonOption = None,
) -> None:
    """Measure verification on pairs: accuracy, TAR at FAR, AUC, EER, ROC."""
    from gfkeras.errors import one_of

    one_of("protocol", protocol, ["pairs"])
    if plot is not None and plot.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"`plot` must end in .png or .svg. Received: plot={str(plot)!r}")
    load_keras()
    pair_list = _pairs(data, pairs, identities, seed)

    from gfkeras.evaluation.pairs import evaluate_pairs
    from gfkeras.evaluation.similarity import COSINE, GROUP_AWARE
    from gfkeras.inference import Embedder

    embedder = Embedder(model, flip=flip, batch_size=batch_size, num_threads=threads)
    result = evaluate_pairs(
        embedder.embed_files,
        pair_list,
        similarity=GROUP_AWARE if group_aware else COSINE,
    )
    table(result.summary())
    for path, reason in result.skipped_files[:10]:
        say(f"skipped {path}: {reason}")
    if len(result.skipped_files) > 10:
        say(f"and {len(result.skipped_files) - 10} more, see --json")
    write_json(json, result.to_json())
    if plot is not None:
        from gfkeras.evaluation.plots import roc_figure, save_figure

        save_figure(roc_figure({Path(model).name: result}), plot)
        say(f"ROC: {plot}")


def _pairs(data: Path, pairs: str, identities: Path | None, seed: int) -> PairList:
    """The pairs that --pairs names."""
    from gfkeras.data.folder import FaceFolder
    from gfkeras.evaluation.pairs import all_pairs, read_pairs, sample_pairs

    if pairs != "all" and not pairs.isdigit():
        if identities is not None:
            raise ValueError(
                "`identities` goes with --pairs all or a number: a pairs file names its people. "
                f"Received: identities={str(identities)!r}"
            )
        return read_pairs(pairs, data)
    folder = FaceFolder(data, identities)
    if pairs == "all":
        return all_pairs(folder.paths, folder.labels, seed=seed)
    return sample_pairs(folder.paths, folder.labels, int(pairs), seed=seed)
