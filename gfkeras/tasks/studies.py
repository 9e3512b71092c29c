"""Studies of `evaluate`: robustness curves and the comparison of two models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.data import FaceFolder
from gfkeras.errors import one_of, wrong
from gfkeras.evaluation import PairList, PairsResult, plots
from gfkeras.evaluation.embedded import embed_images
from gfkeras.tasks.protocol_data import ProtocolOptions
from gfkeras.tasks.protocols import Measured, Protocol

if TYPE_CHECKING:
    from gfkeras.experiments.studies import CrossVersionResult, Study

# The protocols that measure accuracy and TAR on a list of pairs.
STUDY_PROTOCOLS = ("pairs", "bin")
STUDIES = ("jpeg", "size", "dimension", "bits")
VERSIONS = {
    "old/old": "old probe, old gallery",
    "new/new": "new probe, new gallery",
    "new/old": "new probe, old gallery",
    "old/new": "old probe, new gallery",
}


@dataclass(frozen=True)
class StudyOptions:
    """The checked options of a study.

    Attributes:
        name: the study, or None for the comparison with another model.
        values: values to measure. If empty, the study uses its usual ones.
        fit_folder: for the study of dimensions: faces to fit the principal components.
    """

    name: str | None
    values: tuple[int, ...]
    fit_folder: FaceFolder | None


@dataclass(frozen=True)
class Studied:
    """The results and plots of a study or of the comparison of two models."""

    measured: Measured
    found: Study | CrossVersionResult
    # Further keys of the JSON, besides the results.
    json: dict[str, Any]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Returns headings, and a row for each value of a study or each comparison of models."""
        from gfkeras.experiments.studies import Study

        found, far = self.found, self.found.far
        measures = ["Accuracy", "95 %", "EER", f"TAR@{far}", "95 %"]
        if not isinstance(found, Study):
            rows = [[VERSIONS[name], *_cells(each, far)] for name, each in found.results.items()]
            return ["Embedded by", *measures], rows
        # With one series, the table needs no column for its name.
        several = len(found.series()) > 1
        rows = [["–", *([""] if several else []), *_cells(found.reference, far)]]
        rows += [
            [str(point.value), *([series] if several else []), *_cells(point.result, far)]
            for series, points in found.series().items()
            for point in points
        ]
        return [found.axis, *(["kept"] if several else []), *measures], rows


def study_options(
    options: ProtocolOptions,
    study: str | None,
    at: Sequence[int] | None,
    fit_data: Path | None,
    fit_identities: Path | None,
    gallery_model: str | None,
    of_one_model: Mapping[str, Any],
) -> StudyOptions | None:
    """Checks the arguments of `evaluate` for a study. Returns None if there is no study.

    `of_one_model` has the arguments that `gallery_model` excludes, by name. Raises ValueError if
    arguments do not fit together or a folder is missing.
    """
    dimension = ("study=dimension (--study)", study == "dimension")
    for name, value, (needed, given) in (
        ("at", at, ("`study` (--study)", study is not None)),
        ("fit_data", fit_data, dimension),
        ("fit_identities", fit_identities, dimension),
    ):
        if value is not None and not given:
            raise ValueError(f"`{name}` requires {needed}. Received: {name}={value}")
    if study is None and gallery_model is None:
        return None
    asked = f"study={study}" if study is not None else f"gallery_model={gallery_model}"
    if options.protocol not in STUDY_PROTOCOLS:
        raise ValueError(
            f"`{asked.partition('=')[0]}` requires `protocol` (--protocol) "
            f"{' or '.join(STUDY_PROTOCOLS)}. Received: {asked} with protocol={options.protocol}"
        )
    for name, value in ({"study": study} | dict(of_one_model)).items():
        if gallery_model is not None and value:
            raise ValueError(
                f"`{name}` cannot be combined with `gallery_model` (--gallery-model). "
                f"Received: {name}={value}, gallery_model={gallery_model}"
            )
    if gallery_model is not None and (options.similarity.group_aware or options.tune is not None):
        raise ValueError(
            "`gallery_model` requires the cosine, because two models have different groups. "
            "Received: a group-aware `similarity` or `tune` (--group-aware, --tune)"
        )
    if study is not None:
        one_of("study", study, STUDIES)
    if study == "dimension" and options.protocol == "bin" and fit_data is None:
        received = "fit_data=None"
        raise wrong("fit_data (--fit-data)", "be a folder of faces for `protocol` bin", received)
    folder = FaceFolder(fit_data or options.data, fit_identities) if dimension[1] else None
    return StudyOptions(study, tuple(at or ()), folder)


def run_study(options: StudyOptions, running: Protocol, *gallery: Protocol) -> Studied:
    """Runs a study with the model, or compares it with the gallery's model if there is one."""
    return _versions(running, *gallery) if gallery else _study(options, running)


def _study(options: StudyOptions, running: Protocol) -> Studied:
    """Measures without a change, and with each value of the study."""
    from gfkeras.experiments import studies

    listed, embed = running.pair_faces()
    name = options.name
    assert name is not None
    similarity, draws = running.similarity(listed), running.options.bootstrap
    common: dict[str, Any] = {
        "values": options.values, "similarity": similarity, "replicates": draws
    }  # fmt: skip
    if name in studies.IMAGE_STUDIES:
        found = studies.study_images(name, embed, listed, **common)
    else:
        folder = options.fit_folder
        fitted_on = None if folder is None else _fitting_faces(running, listed, folder)
        found = studies.study_embeddings(name, embed(None), listed, fitted_on=fitted_on, **common)
    measured = running.of_pairs(found.reference)
    measured.figures[f"study_{name}"] = lambda: studies.study_figure(found)
    return Studied(measured, found, {"study": found.to_json()})


def _versions(running: Protocol, gallery: Protocol) -> Studied:
    """Measures each model alone, and with probes of one model against a gallery of the other."""
    from gfkeras.experiments.studies import evaluate_cross_version

    listed, new = running.pair_faces()
    _, old = gallery.pair_faces()
    found = evaluate_cross_version(
        new(None), old(None), listed, replicates=running.options.bootstrap
    )
    titled = {VERSIONS[name]: result for name, result in found.results.items()}
    figures: dict[str, Callable[[], Any]] = {
        "roc": lambda: plots.roc_figure(titled),
        "det": lambda: plots.det_figure(titled),
        "scores": lambda: plots.score_histogram(found.results["new/old"]),
    }
    measured = Measured(dict(found.results), None, figures, running.listed_name)
    return Studied(measured, found, {"cross_accuracy": found.cross_accuracy})


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


def _fitting_faces(running: Protocol, listed: PairList, folder: FaceFolder) -> Any:
    """Returns embeddings of people who are not in a pair."""
    # Exclude whole people, not only their images in pairs: another image of a test person would
    # still fit the components to the test data. The links in paths are resolved first.
    scored = {path.resolve().parent for path in listed.files()}
    paths = [path for path in folder.paths if path.resolve().parent not in scored]
    if not paths:
        expected = "have people who are not in a pair, to fit the principal components"
        received = f"{str(folder.root)!r} with {len(folder.paths)} images, all of people in pairs"
        raise wrong("fit_data", expected, received)
    return embed_images(running.embed_files, paths).embedding
