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
        Path,
        Option(help="Folder of the data set (one folder per person for pairs), or a .bin file."),
    ],
    protocol: str = Option(
        "pairs", help="Protocol: pairs, bin, cfp, ytf, ijb, megaface or facenet (VAL at FAR)."
    ),
    pairs: str | None = Option(
        None,
        help="pairs, facenet: a list of pairs (in the format of LFW, CALFW, CPLFW or CSV), "
        "cfp-fp, cfp-ff, all, or a number of random pairs. cfp: folder of the lists. By default, "
        "it is found in --data or next to it.",
    ),
    identities: options.PairPeople = None,
    subset: str | None = Option(None, help="ijb: IJBB or IJBC. cfp: FF or FP; by default, both."),
    task: str | None = Option(None, help="ijb: 1:1, 1:N or both. By default, both."),
    max_frames: int | None = Option(
        None, min=1, help="ytf: largest number of frames per video, evenly spread."
    ),
    distractors: str | None = Option(
        None, help="megaface: list of distractors, if the folder has several."
    ),
    refined: bool = Option(
        False, "--refined", help="megaface: leave out the images that the noise lists name."
    ),
    flip: options.Flip = False,
    group_aware: options.GroupAware = False,
    beta: options.Beta = None,
    gamma: options.Gamma = None,
    distance: options.Distance = "l2",
    tune: str | None = Option(
        None, metavar="PAIRS", help="List of development pairs that choose beta and gamma."
    ),
    tune_data: Annotated[
        Path | None, Option(help="Folder of the --tune images. By default, --data.")
    ] = None,
    study: str | None = Option(
        None,
        metavar="NAME",
        help="pairs, bin: measure again at several JPEG qualities (jpeg), image sizes in pixels "
        "(size), numbers of dimensions (dimension) or bits per number (bits).",
    ),
    at: str | None = Option(
        None, metavar="N,N,…", help="With --study: values to measure, instead of the usual ones."
    ),
    fit_data: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="With --study dimension: folder with one folder per person, to fit the principal "
            "components. By default, the people of --data that are not in a pair.",
        ),
    ] = None,
    fit_identities: Annotated[
        Path | None,
        Option(metavar="FILE", help="Text file with the people of --fit-data to use."),
    ] = None,
    gallery_model: str | None = Option(
        None,
        metavar="OLD",
        help="pairs, bin: older model that embeds the gallery, while MODEL embeds the probes.",
    ),
    align: options.Align = False,
    detector: options.Detector = None,
    face: options.Face = None,
    crop: str | None = Option(
        None,
        help="The images are photos: cut the face out without alignment, from the middle of the "
        "photo (center) or around the detector's box (box).",
    ),
    crop_scale: float | None = Option(
        None,
        help="With --crop: side of the cut square, as a share of the photo's shorter side (center, "
        "0.55) or as a multiple of the box's longer side (box, 1.2).",
    ),
    resize: options.Resize = False,
    bootstrap: int = Option(
        1000, min=0, help="Bootstrap samples for the 95 % intervals. 0: no intervals."
    ),
    plots: Annotated[
        Path | None,
        Option(
            metavar="FOLDER",
            callback=options.writable,
            help="Folder for plots: ROC, DET, scores and others.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            callback=options.writable,
            help="File for thresholds by FAR, which compare and search read.",
        ),
    ] = None,
    force: bool = Option(
        False,
        "--force",
        help="Also write thresholds with fewer than ten expected false accepts.",
    ),
    record: bool = Option(
        False, "--record", help="Add the result to the artefact's card, PATH.json."
    ),
    threads: options.Threads = None,
    batch_size: int | None = Option(None, min=1, help="Images per batch."),
    seed: int = Option(0, help="Random seed for pairs and folds."),
    input_range: options.InputRange = None,
    trust: options.Trust = False,
    json: options.Json = None,
) -> None:
    """Measure a model's accuracy with a standard protocol.

    pairs: ten-fold accuracy, TAR at FAR, AUC and EER. bin: the same on InsightFace's .bin files.
    cfp: the same on frontal-frontal (FF) and frontal-profile (FP) pairs of CFP.
    ytf: videos. ijb: templates, 1:1 and 1:N. megaface: identification among distractors. facenet:
    VAL at FAR over squared distances.

    --study measures how the result changes with image quality or embedding size. --gallery-model
    measures a new model against a gallery of an old one.
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
            detector=detector, face=face, crop=crop, crop_scale=crop_scale, resize=resize,
            bootstrap=bootstrap, threads=threads, batch_size=batch_size, seed=seed,
            plots=plots is not None,
            thresholds=thresholds is not None, record=record, progress=progress,
        )  # fmt: skip
    # Print and save the results first: plots and thresholds can fail, for example on a full disk.
    _report(found)
    write_json(json, found.to_json())
    for path in [] if plots is None else found.draw(plots):
        say(f"Plot: {path}")
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
                f"{tuned.pairs:,}: {tuned.accuracy:.2%}, with cosine {tuned.cosine_accuracy:.2%}"
            )
        ])  # fmt: skip
    studied = found.studied
    for name, result in found.measured.results.items():
        # A study prints all its results in one table below.
        if studied is None or not name:
            table(result.summary(), name[:1].upper() + name[1:])
    if studied is not None:
        columns(*studied.table())
    list_skipped([*found.skipped.items(), *found.left_out])
