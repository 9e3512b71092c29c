"""`gfkeras evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from gfkeras.cli import command_line, options
from gfkeras.cli.output import columns, list_skipped, say, table, write_json
from gfkeras.cli.progress import stages

if TYPE_CHECKING:
    from gfkeras.tasks.evaluate import Evaluation


def command(
    model: options.ModelArgument,
    data: Annotated[
        Path, Option(help="The data set: a folder (one folder per person for pairs), or a .bin.")
    ],
    protocol: str = Option(
        "pairs", help="pairs, bin, ytf, ijb, megaface, or facenet (VAL at FAR)."
    ),
    pairs: str | None = Option(
        None,
        help="pairs, facenet: a list (LFW's, CALFW's, CPLFW's, CSV), cfp-fp or cfp-ff, all, or "
        "a number to draw at random.",
    ),
    identities: options.PairPeople = None,
    subset: str | None = Option(None, help="ijb: IJBB or IJBC."),
    task: str | None = Option(None, help="ijb: 1:1, 1:N or both (default)."),
    max_frames: int | None = Option(None, min=1, help="ytf: frames of each video, evenly spread."),
    distractors: str | None = Option(None, help="megaface: the list of distractors, of several."),
    refined: bool = Option(
        False, "--refined", help="megaface: leave out what the lists of noises name."
    ),
    flip: options.Flip = False,
    group_aware: options.GroupAware = False,
    beta: options.Beta = None,
    gamma: options.Gamma = None,
    distance: options.Distance = "l2",
    tune: str | None = Option(
        None, metavar="PAIRS", help="Choose beta and gamma on these development pairs."
    ),
    tune_data: Annotated[Path | None, Option(help="Their images; --data by default.")] = None,
    study: str | None = Option(
        None,
        metavar="NAME",
        help="pairs, bin: measure again for each JPEG quality (jpeg), side of the image in pixels "
        "(size), number of dimensions (dimension) or bits a number (bits).",
    ),
    at: str | None = Option(
        None, metavar="N,N,…", help="With --study: its values, instead of its own."
    ),
    fit_data: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="With --study dimension: one folder per person, to find the principal "
            "directions; by default the people of --data in no pair.",
        ),
    ] = None,
    fit_identities: Annotated[
        Path | None, Option(metavar="FILE", help="Text file with the people of them to take.")
    ] = None,
    gallery_model: str | None = Option(
        None,
        metavar="OLD",
        help="pairs, bin: the model that embedded the gallery; MODEL's embeddings are compared "
        "with its.",
    ),
    align: options.Align = False,
    detector: options.Detector = None,
    face: options.Face = None,
    resize: options.Resize = False,
    bootstrap: int = Option(1000, min=0, help="Draws for the 95 % intervals; 0 leaves them out."),
    plots: Annotated[
        Path | None, Option(metavar="FOLDER", help="Draw ROC, DET, scores and more here.")
    ] = None,
    thresholds: Annotated[
        Path | None, Option(metavar="FILE", help="Write thresholds by FAR, for compare and search.")
    ] = None,
    force: bool = Option(
        False,
        "--force",
        help="Write also thresholds at which fewer than ten false accepts are expected.",
    ),
    record: bool = Option(
        False, "--record", help="Add the result to the artefact's card, PATH.json."
    ),
    threads: options.Threads = None,
    batch_size: int | None = Option(None, min=1, help="Images embedded at once."),
    seed: int = Option(0, help="Of drawn pairs and of folds."),
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Measure a model by one of the field's protocols.

    pairs: ten-fold accuracy, TAR at FAR, AUC, EER. bin: the same on InsightFace's .bin sets. ytf:
    videos. ijb: templates, 1:1 and 1:N. megaface: identification among distractors. facenet: VAL
    at FAR over squared distances.

    --study draws a robustness curve over the pairs, --gallery-model compares with the embeddings of
    an older model.
    """
    from gfkeras.tasks.evaluate import evaluate

    with stages() as progress:
        found = evaluate(
            options.model_file(model, input_range, trust),
            data, protocol=protocol, pairs=pairs, identities=identities, subset=subset,
            task=task, max_frames=max_frames, distractors=distractors, refined=refined, flip=flip,
            similarity=options.make_similarity(group_aware, beta, gamma, distance), tune=tune,
            tune_data=tune_data, study=study, at=options.numbers("at", at), fit_data=fit_data,
            fit_identities=fit_identities, gallery_model=gallery_model, align=align,
            detector=detector, face=face, resize=resize, bootstrap=bootstrap, threads=threads,
            batch_size=batch_size, seed=seed, plots=plots is not None,
            thresholds=thresholds is not None, record=record, progress=progress,
        )  # fmt: skip
    _report(found)
    write_json(json, found.to_json())
    for path in [] if plots is None else found.draw(plots):
        say(f"Picture: {path}")
    if thresholds is not None:
        made = found.thresholds(force)
        made.save(thresholds)
        say(f"Thresholds: {thresholds} ({', '.join(made.at_far)})")
    if record:
        say(f"Recorded: {found.record(command_line())}")


def _report(found: Evaluation) -> None:
    if (tuned := found.tuned) is not None:
        table([
            ("Tuned", f"beta {tuned.similarity.beta:g}, gamma {tuned.similarity.gamma:.3g}"),
            (
                "Development pairs",
                f"{tuned.pairs:,}: {tuned.accuracy:.2%}, by the cosine {tuned.cosine_accuracy:.2%}"
            )
        ])  # fmt: skip
    studied = found.studied
    for name, result in found.measured.results.items():
        # The comparison of several models has one table for all.
        if studied is None or not name:
            table(result.summary(), name.capitalize())
    if studied is not None:
        columns(*studied.table())
    list_skipped([*found.skipped.items(), *found.left_out])
