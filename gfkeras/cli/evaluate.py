"""`gfkeras evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.backend import load_keras
from gfkeras.cli._align import AlignOption, DetectorOption, FaceOption, make_aligner
from gfkeras.cli._output import JsonOption, ModelArgument, ThreadsOption, say, table, write_json
from gfkeras.cli._similarity import BetaOption, DistanceOption, GammaOption, GroupAwareOption
from gfkeras.cli._studies import (
    AtOption,
    FitDataOption,
    FitIdentitiesOption,
    GalleryModelOption,
    StudyOption,
)

if TYPE_CHECKING:
    from gfkeras.cli._protocols import Measured, Protocol
    from gfkeras.cli._studies import Studied


def command(
    model: ModelArgument,
    data: Annotated[
        Path,
        typer.Option(help="The data set: a folder (one folder per person for pairs), or a .bin."),
    ],
    protocol: Annotated[
        str, typer.Option(help="pairs, bin, ytf, ijb, megaface, or facenet (VAL at FAR).")
    ] = "pairs",
    pairs: Annotated[
        str | None,
        typer.Option(
            help="pairs, facenet: a list (LFW's, CALFW's, CPLFW's, CSV), cfp-fp or cfp-ff, all, or "
            "a number to draw at random."
        ),
    ] = None,
    identities: Annotated[
        Path | None,
        typer.Option(help="With --pairs all or a number: text file with the people to take."),
    ] = None,
    subset: Annotated[str | None, typer.Option(help="ijb: IJBB or IJBC.")] = None,
    task: Annotated[str | None, typer.Option(help="ijb: 1:1, 1:N or both (default).")] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="ytf: frames of each video, evenly spread.")
    ] = None,
    distractors: Annotated[
        str | None, typer.Option(help="megaface: the list of distractors, of several.")
    ] = None,
    refined: Annotated[
        bool, typer.Option("--refined", help="megaface: leave out what the lists of noises name.")
    ] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Add the embedding of the mirrored image.")
    ] = False,
    group_aware: GroupAwareOption = False,
    beta: BetaOption = None,
    gamma: GammaOption = None,
    distance: DistanceOption = "l2",
    tune: Annotated[
        str | None,
        typer.Option(metavar="PAIRS", help="Choose beta and gamma on these development pairs."),
    ] = None,
    tune_data: Annotated[Path | None, typer.Option(help="Their images; --data by default.")] = None,
    study: StudyOption = None,
    at: AtOption = None,
    fit_data: FitDataOption = None,
    fit_identities: FitIdentitiesOption = None,
    gallery_model: GalleryModelOption = None,
    align: AlignOption = False,
    detector: DetectorOption = None,
    face: FaceOption = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Draws for the 95 % intervals; 0 leaves them out.")
    ] = 1000,
    plots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Draw ROC, DET, scores and more here.")
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write thresholds by FAR, for compare and search."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Add the result to the artefact's card, PATH.json.")
    ] = False,
    threads: ThreadsOption = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images embedded at once.")] = None,
    seed: Annotated[int, typer.Option(help="Of drawn pairs and of folds.")] = 0,
    json: JsonOption = None,
) -> None:
    """Measure a model by one of the field's protocols.

    pairs: ten-fold accuracy, TAR at FAR, AUC, EER. bin: the same on InsightFace's .bin sets. ytf:
    videos. ijb: templates, 1:1 and 1:N. megaface: identification among distractors. facenet: VAL
    at FAR over squared distances.

    --study draws a robustness curve over the pairs, --gallery-model compares with the embeddings of
    an older model.
    """
    from gfkeras.cli._progress import embedding_bar
    from gfkeras.cli._protocols import Protocol, Request, check_options, listed_pairs
    from gfkeras.cli._similarity import make_similarity
    from gfkeras.cli._studies import check_studying, run_study

    similarity = make_similarity(group_aware, beta, gamma, distance)
    request = Request(
        protocol, data, pairs, identities, subset, task, max_frames, distractors, refined, tune,
        tune_data, similarity, bootstrap, seed,
    )  # fmt: skip
    check_options(request)
    studying = check_studying(request, study, at, fit_data, fit_identities, gallery_model,
                              {"record": record, "thresholds": thresholds})  # fmt: skip
    load_keras()
    # Before the model: a list that is wrong is found at once.
    listed = listed_pairs(request)

    from gfkeras.cards import card as cards
    from gfkeras.inference import Embedder

    # Before the work, not after it.
    if record:
        cards.recordable_card(Path(model))
    if plots is not None:
        from gfkeras.errors import require

        require("matplotlib", "plots")
    embedders = [
        Embedder(name, flip=flip, batch_size=batch_size, num_threads=threads)
        for name in (model, gallery_model)
        if name is not None
    ]
    aligners = [make_aligner(align, detector, face, each.image_size) for each in embedders]
    with embedding_bar(quiet=False) as progress:
        running, *gallery = [
            Protocol(request, embedder, listed, aligner, progress)
            for embedder, aligner in zip(embedders, aligners, strict=True)
        ]
        studied = None if studying is None else run_study(studying, running, *gallery)
        measured = running.run() if studied is None else studied.measured
    _report(measured, running, studied)
    results = {name: result.to_json() for name, result in measured.results.items()}
    shown: dict[str, Any] = results.get("", results)
    used = running.used
    shown["protocol"] = protocol
    shown["similarity"] = {"beta": used.beta, "gamma": used.gamma, "distance": used.distance}
    if running.tuned is not None:
        shown["tuned"] = running.tuned.to_json()
    shown |= {} if studied is None else studied.json
    write_json(json, shown)
    if plots is not None:
        from gfkeras.evaluation.plots import write_figures

        for path in write_figures(plots, {n: make() for n, make in measured.figures.items()}):
            say(f"Picture: {path}")
    if thresholds is not None:
        _write_thresholds(thresholds, measured, running)
    if record:
        from gfkeras.cli._recording import accuracy_entries

        for entry in accuracy_entries(measured, running, flip, align):
            card = cards.record(Path(model), "accuracy", entry)
        say(f"Recorded: {card}")


def _report(measured: Measured, running: Protocol, studied: Studied | None) -> None:
    if running.tuned is not None:
        tuned = running.tuned
        table([
            ("Tuned", f"beta {tuned.similarity.beta:g}, gamma {tuned.similarity.gamma:.3g}"),
            (
                "Development pairs",
                f"{tuned.pairs:,}: {tuned.accuracy:.2%}, by the cosine {tuned.cosine_accuracy:.2%}",
            ),
        ])  # fmt: skip
    skipped: dict[Any, str] = {}
    for name, result in measured.results.items():
        skipped |= dict(result.skipped_files)
        # The comparison of several models has one table for all.
        if studied is None or not name:
            table(result.summary(), name.capitalize())
    if studied is not None:
        studied.report()
    for path, reason in list(skipped.items())[:10]:
        say(f"skipped {path}: {reason}")
    if len(skipped) > 10:
        say(f"and {len(skipped) - 10} more, see --json")


def _write_thresholds(path: Path, measured: Measured, running: Protocol) -> None:
    import datetime

    from gfkeras.evaluation import Thresholds
    from gfkeras.version import __version__

    if measured.curve is None:
        raise ValueError(
            "`thresholds` goes with the protocols pairs, bin, ytf and ijb (1:1). "
            f"Received: --protocol {running.request.protocol}"
        )
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    origin = (
        f"{measured.measured}, {measured.curve.impostor:,} impostor pairs, {day}, "
        f"gfkeras {__version__}"
    )
    made = Thresholds.from_curve(measured.curve, running.used, origin, running.embedder.fingerprint)
    made.save(path)
    say(f"Thresholds: {path} ({', '.join(made.at_far)})")
