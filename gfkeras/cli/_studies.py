"""`gfkeras evaluate --study` and `--gallery-model`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfkeras.cli._output import columns

if TYPE_CHECKING:
    from gfkeras.cli._protocols import Measured, Protocol, Request
    from gfkeras.evaluation import PairsResult
    from gfkeras.experiments.studies import CrossVersionResult, Study

# The protocols with a list of pairs that is measured by accuracy and TAR.
PROTOCOLS = ("pairs", "bin")
STUDIES = ("jpeg", "size", "dimension", "bits")

_VERSIONS = {
    "old/old": "old probe, old gallery",
    "new/new": "new probe, new gallery",
    "new/old": "new probe, old gallery",
    "old/new": "old probe, new gallery",
}

StudyOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="pairs, bin: measure again for each JPEG quality (jpeg), side of the image in pixels "
        "(size), number of dimensions (dimension) or bits a number (bits).",
    ),
]
AtOption = Annotated[
    str | None, typer.Option(metavar="N,N,…", help="With --study: its values, instead of its own.")
]
FitDataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="With --study dimension: one folder per person, to find the principal directions; by "
        "default the people of --data in no pair.",
    ),
]
FitIdentitiesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Text file with the people of them to take.")
]
GalleryModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="OLD",
        help="pairs, bin: the model that embedded the gallery; MODEL's embeddings are compared "
        "with its.",
    ),
]


@dataclass(frozen=True)
class Studying:
    """The options of a study, checked.

    Attributes:
        name: of the study; None with a gallery's model.
        values: to measure at; empty for the study's own.
        fit_data, fit_identities: whose principal directions.
        gallery_model: compared with, in place of a study.
    """

    name: str | None
    values: tuple[int, ...]
    fit_data: Path | None
    fit_identities: Path | None
    gallery_model: str | None


def check_studying(
    request: Request,
    study: str | None,
    at: str | None,
    fit_data: Path | None,
    fit_identities: Path | None,
    gallery_model: str | None,
    kept: dict[str, Any],
) -> Studying | None:
    """None where neither a study nor another model is asked for.

    Args:
        request: the protocol's options.
        study, at, fit_data, fit_identities, gallery_model: as given.
        kept: options that keep figures of one model, by name, as given.

    Raises:
        ValueError: for options that do not go together.
    """
    from gfkeras.errors import one_of

    dimension = ("--study dimension", study == "dimension")
    for name, value, (needed, given) in (
        ("at", at, ("--study", study is not None)),
        ("fit_data", fit_data, dimension),
        ("fit_identities", fit_identities, dimension),
    ):
        if value is not None and not given:
            raise ValueError(f"`{name}` goes with {needed}. Received: {name}={value}")
    if study is None and gallery_model is None:
        return None
    asked = f"study={study}" if study is not None else f"gallery_model={gallery_model}"
    if request.protocol not in PROTOCOLS:
        raise ValueError(
            f"`{asked.partition('=')[0]}` goes with --protocol {' or '.join(PROTOCOLS)}. "
            f"Received: {asked} with --protocol {request.protocol}"
        )
    for name, value in ({"study": study} | kept).items():
        if gallery_model is not None and value:
            raise ValueError(
                f"`{name}` is of one model, without --gallery-model. Received: {name}={value}, "
                f"gallery_model={gallery_model}"
            )
    if gallery_model is not None and (request.similarity.group_aware or request.tune is not None):
        raise ValueError(
            "`gallery_model` is compared by the cosine: two networks have different groups. "
            "Received: --group-aware or --tune"
        )
    if study is not None:
        one_of("study", study, STUDIES)
    if study == "dimension" and request.protocol == "bin" and fit_data is None:
        raise ValueError("`fit_data` must name a folder of faces with --protocol bin.")
    return Studying(study, _numbers(at), fit_data, fit_identities, gallery_model)


@dataclass(frozen=True)
class Studied:
    """What a study found.

    Attributes:
        measured: results and pictures, as of a protocol.
        json: what `--json` has besides.
        report: prints the table.
    """

    measured: Measured
    json: dict[str, Any]
    report: Callable[[], None]


def run_study(studying: Studying, running: Protocol, *gallery: Protocol) -> Studied:
    """Measures what is asked for.

    Args:
        studying: what that is.
        running: the protocol with the model.
        gallery: the same with the gallery's model, where there is one.
    """
    return _versions(running, *gallery) if gallery else _study(studying, running)


def _study(studying: Studying, running: Protocol) -> Studied:
    """The protocol as it is, and for each value of the study."""
    from gfkeras.experiments import studies

    listed, embed = running.pair_faces()
    name = studying.name
    assert name is not None
    common: dict[str, Any] = {
        "values": studying.values,
        "similarity": running.similarity(listed),
        "replicates": running.request.bootstrap,
    }
    if name in studies.IMAGE_STUDIES:
        found = studies.study_images(name, embed, listed, **common)
    else:
        fitted_on = _fitting_faces(running, studying) if name == "dimension" else None
        found = studies.study_embeddings(name, embed(None), listed, fitted_on=fitted_on, **common)
    measured = running.of_pairs(found.reference)
    measured.figures[f"study_{name}"] = lambda: studies.study_figure(found)
    return Studied(measured, {"study": found.to_json()}, lambda: _report_study(found))


def _versions(running: Protocol, gallery: Protocol) -> Studied:
    """Both models by themselves, and each one's probes against the other's gallery."""
    from gfkeras.cli._protocols import Measured
    from gfkeras.evaluation import plots
    from gfkeras.experiments.studies import evaluate_cross_version

    listed, new = running.pair_faces()
    _, old = gallery.pair_faces()
    found = evaluate_cross_version(
        new(None), old(None), listed, replicates=running.request.bootstrap
    )
    titled = {_VERSIONS[name]: result for name, result in found.results.items()}
    figures: dict[str, Callable[[], Any]] = {
        "roc": lambda: plots.roc_figure(titled),
        "det": lambda: plots.det_figure(titled),
        "scores": lambda: plots.score_histogram(found.results["new/old"]),
    }
    measured = Measured(dict(found.results), None, figures, running.listed_name)
    return Studied(
        measured, {"cross_accuracy": found.cross_accuracy}, lambda: _report_versions(found)
    )


def _report_study(study: Study) -> None:
    """The unchanged network, then a row for each point."""
    far = study.far
    several = len(study.series()) > 1
    headings = [study.axis, *(["kept"] if several else []), *_HEADINGS, f"TAR@{far}", "95 %"]
    rows = [["–", *([""] if several else []), *_cells(study.reference, far)]]
    rows += [
        [str(point.value), *([series] if several else []), *_cells(point.result, far)]
        for series, points in study.series().items()
        for point in points
    ]
    columns(headings, rows)


def _report_versions(found: CrossVersionResult) -> None:
    """Both networks and the comparisons across them, a row each."""
    far = found.far
    columns(
        ["Embedded by", *_HEADINGS, f"TAR@{far}", "95 %"],
        [[_VERSIONS[name], *_cells(result, far)] for name, result in found.results.items()],
    )


_HEADINGS = ("Accuracy", "95 %", "EER")


def _cells(result: PairsResult, far: str) -> list[str]:
    known = result.intervals or {}

    def interval(bounds: Any) -> str:
        return "" if bounds is None else f"{100 * bounds[0]:.2f}–{100 * bounds[1]:.2f}"

    tar = result.tar_at_far.get(far)
    return [
        f"{result.accuracy:.2%}",
        interval(known.get("accuracy")),
        f"{result.eer:.2%}",
        "–" if tar is None else f"{tar:.2%}",
        interval(known.get("tar_at_far", {}).get(far)),
    ]


def _numbers(at: str | None) -> tuple[int, ...]:
    if at is None:
        return ()
    parts = [part.strip() for part in at.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise ValueError(
            f"`at` must be whole numbers of at least 1 with commas, 10,20,30. Received: at={at!r}"
        )
    return tuple(int(part) for part in parts)


def _fitting_faces(running: Protocol, studying: Studying) -> Any:
    """Embeddings of faces in no pair."""
    from gfkeras.data.folder import FaceFolder
    from gfkeras.evaluation.embedded import embed_images

    data = studying.fit_data or running.request.data
    folder = FaceFolder(data, studying.fit_identities)
    listed, _ = running.pair_faces()
    # By resolved files, and the people they show: another picture of a scored person is not
    # another face.
    scored = {path.resolve().parent for path in listed.files()}
    paths = [path for path in folder.paths if path.resolve().parent not in scored]
    if not paths:
        raise ValueError(
            "`fit_data` must hold people that no pair shows, to find principal directions. "
            f"Received: {str(data)!r} with {len(folder.paths)} images, all of people in pairs"
        )
    return embed_images(running.embed_files, paths).embedding
