"""Protocols of `evaluate`: their data, embeddings and measurements."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras import evaluation
from gfkeras.data import sources
from gfkeras.data.alignment import FaceAligner, FaceCropper
from gfkeras.data.sources import IJBMetadata, Source
from gfkeras.errors import one_of, wrong
from gfkeras.evaluation import (
    AllPairs,
    PairList,
    PairsResult,
    Roc,
    Similarity,
    TunedSimilarity,
    plots,
)
from gfkeras.evaluation.embedded import Embed, embed_images
from gfkeras.evaluation.identification import identification_errors
from gfkeras.evaluation.pairs import embed_lists
from gfkeras.evaluation.tuning import require_disjoint
from gfkeras.inference import Embedder, SourceFaces
from gfkeras.tasks.alignment import face_reader
from gfkeras.tasks.protocol_data import (
    Images,
    ProtocolData,
    ProtocolOptions,
    cfp_lists,
    listed_pairs,
    source_pairs,
)

if TYPE_CHECKING:
    from gfkeras.experiments.studies.study import Change

TASKS = ("1:1", "1:N", "both")


@dataclass(frozen=True)
class Measured:
    """The results of a protocol."""

    # By name. The name of a single result is empty.
    results: dict[str, Any]
    # The ROC curve for thresholds, or None.
    curve: Roc | None
    # Functions that draw the plots, by file name.
    figures: dict[str, Callable[[], Any]]
    # The name of the data, such as "IJBC".
    measured: str


@dataclass(eq=False)
class Protocol:
    """A protocol with its data and one model. Photos need an `aligner`, aligned faces do not."""

    options: ProtocolOptions
    data: ProtocolData
    embedder: Embedder
    aligner: FaceAligner | FaceCropper | None
    progress: Callable[[int, int], None] | None
    tuned: TunedSimilarity | None = None

    def run(self) -> Measured:
        """Runs the protocol. With `tune`, it chooses β and γ first."""
        return PROTOCOLS[self.options.protocol].run(self)

    def pairs(self) -> Measured:
        """Measures a list of pairs, all pairs of a folder, or a .bin file of InsightFace."""
        images, draws = self.data.images, self.options.bootstrap
        if isinstance(images, AllPairs):
            embed: Embed = self.embed_files
            # Drawing people takes a second for each million pairs, and needs fewer draws.
            draws = min(draws, 200)
        else:
            images, faces = self.pair_faces()
            embed = faces(None)
        similarity = self.similarity(images)
        return self.of_pairs(
            evaluation.evaluate_pairs(embed, images, similarity=similarity, replicates=draws)
        )

    def pair_faces(self) -> tuple[PairList, Callable[[Change | None], Embed]]:
        """Returns the pairs, and a function that makes an embedding function.

        Its argument is a change of the faces, such as a JPEG quality, or None.
        """
        images = self.data.images
        if isinstance(images, AllPairs):
            images = images.listed()
        if isinstance(images, PairList):
            return images, lambda change: functools.partial(self.embed_files, change=change)
        assert not isinstance(images, dict)

        def embed(change: Change | None) -> Embed:
            faces = self._faces(images, change)
            return lambda paths: faces([path.as_posix() for path in paths])

        return source_pairs(images), embed

    def cfp(self) -> Measured:
        """Measures the frontal-frontal and frontal-profile pairs of CFP."""
        lists = self.data.images
        assert isinstance(lists, dict)
        similarity = self.similarity(*lists.values())
        embedded = embed_lists(self.embed_files, list(lists.values()))
        results = {
            name: pairs.measure(similarity, replicates=self.options.bootstrap)
            for name, pairs in zip(lists, embedded, strict=True)
        }
        if len(results) == 1:
            ((name, result),) = results.items()
            return dataclasses.replace(self.of_pairs(result), measured=f"CFP-{name}")
        # Thresholds are for any two photos, so they are measured on the pairs of both lists.
        scores, same = (
            np.concatenate([getattr(each, field) for each in results.values()])
            for field in ("scores", "same")
        )
        curves = {f"CFP-{name}": result.curve for name, result in results.items()}
        figures: dict[str, Callable[[], Any]] = {
            "roc": lambda: plots.roc_figure(curves), "det": lambda: plots.det_figure(curves)
        }  # fmt: skip
        for name, result in results.items():
            figures[f"scores_{name}"] = functools.partial(plots.score_histogram, result)
        return Measured(dict(results), evaluation.roc(scores, same), figures, "CFP")

    def facenet(self) -> Measured:
        """Measures VAL at FAR over squared distances."""
        listed = self.pair_faces()[0]
        result = evaluation.evaluate_validation_rate(
            self.embed_files, listed, similarity=self.similarity(listed),
            replicates=self.options.bootstrap,
        )  # fmt: skip
        return Measured({"": result}, None, {}, self.listed_name)

    def ytf(self) -> Measured:
        """Measures pairs of videos of YouTube Faces."""
        source = self.data.images
        assert isinstance(source, sources.YouTubeFacesSource)
        similarity = self.similarity()
        faces = self._faces(source)
        result = evaluation.evaluate_youtube_faces(
            faces, faces.items, source.video_pairs(), similarity,
            max_frames=self.options.max_frames, replicates=self.options.bootstrap,
        )  # fmt: skip
        return dataclasses.replace(self.of_pairs(result), measured="YouTube Faces")

    def ijb(self) -> Measured:
        """Measures 1:1, 1:N or both on IJB-B or IJB-C. Both share the templates."""
        source, meta = self.data.images, self.data.meta
        assert isinstance(source, sources.IJBSource)
        assert meta is not None
        task, bootstrap = self.options.task or "both", self.options.bootstrap
        similarity = self.similarity()
        templates, skipped = evaluation.ijb_templates(self._faces(source), meta)
        results: dict[str, Any] = {}
        figures: dict[str, Callable[[], Any]] = {}
        curve = None
        if task != "1:N":
            results["verification"] = found = evaluation.evaluate_ijb_verification(
                templates, meta.pairs(), similarity, subjects=_subjects(meta),
                # IJB has millions of pairs: more replicates take long and change little.
                replicates=min(bootstrap, 200), skipped_files=skipped,
            )  # fmt: skip
            curve = found.curve
            figures |= curve_figures(self._title, curve)
        if task != "1:1":
            results["identification"] = identified = evaluation.evaluate_ijb_identification(
                templates, meta, similarity, bootstrap, skipped
            )
            figures |= identification_figures(identified)
        if len(results) == 1:
            results = {"": results.popitem()[1]}
        return Measured(results, curve, figures, meta.subset)

    def megaface(self) -> Measured:
        """Measures identification of FaceScrub's actors among the distractors of MegaFace."""
        options, source = self.options, self.data.images
        assert isinstance(source, sources.MegaFaceSource)
        similarity = self.similarity()
        faces = self._faces(source)
        actors = [name for name, item in faces.items.items() if item.identity is not None]
        strangers = [name for name, item in faces.items.items() if item.identity is None]
        if not actors or not strangers:
            received = f"{len(actors)} images of actors, {len(strangers)} distractors"
            raise wrong("data", "have FaceScrub's images and MegaFace's distractors", received)
        probes = embed_images(faces, actors)
        kept = [name for name, row in zip(actors, probes.row.tolist(), strict=True) if row >= 0]
        skipped = [*faces.refused.items(), *probes.skipped]

        result = evaluation.evaluate_megaface(
            probes.embedding, probes.group_feature, [faces.items[n].identity for n in kept],
            evaluation.distractor_blocks(faces, strangers, skipped), len(strangers), similarity,
            replicates=options.bootstrap, refined=options.refined, skipped_files=skipped,
        )  # fmt: skip
        most = max(result.cmc)
        figures = {
            "distractors": lambda: plots.distractor_figure({self._title: result.rank_1}),
            "cmc": lambda: plots.cmc_figure({f"{most:,} distractors": result.cmc[most]}),
        }
        return Measured({"": result}, None, figures, "MegaFace")

    @property
    def _title(self) -> str:
        return "group-aware" if self.used.group_aware else "cosine"

    @property
    def used(self) -> Similarity:
        """The similarity that scores the pairs."""
        return self.options.similarity if self.tuned is None else self.tuned.similarity

    def similarity(self, *measured: PairList | AllPairs) -> Similarity:
        """Returns the similarity of the options, or chooses one on the development pairs.

        `measured` are the test pairs. None of them can be a development pair.
        """
        if (pairs := self.data.development) is not None:
            for each in measured:
                require_disjoint(pairs, each)
            distance = self.options.similarity.distance
            self.tuned = evaluation.tune_similarity(self.embed_files, pairs, distance=distance)
        return self.used

    def embed_files(self, paths: list[Path], change: Change | None = None) -> Any:
        """Embeds aligned faces or photos, with `change` applied to each face."""
        read = face_reader(self.aligner, self.embedder.image_size, self.options.resize)

        def load(position: int) -> Any:
            face = read(paths[position])
            return face if change is None else change(face)

        return self.embedder.embed_loaded(paths, load, self.progress)

    def _faces(self, source: Source, change: Change | None = None) -> SourceFaces:
        return SourceFaces(
            self.embedder, source, self.aligner, self.progress, change, self.options.resize
        )

    @property
    def listed_name(self) -> str:
        """The name of the list of pairs."""
        return Path(str(self.options.pairs or self.options.data)).name

    def of_pairs(self, result: PairsResult) -> Measured:
        """Returns a result on pairs with its plots."""
        curve = result.curve
        figures = curve_figures(self._title, curve)
        figures["scores"] = lambda: plots.score_histogram(result)
        return Measured({"": result}, curve, figures, self.listed_name)


@dataclass(frozen=True)
class ProtocolEntry:
    """A protocol in the registry: how to open its data set and how to run it."""

    run: Callable[[Protocol], Measured]
    open: Callable[[ProtocolOptions], Images]
    # The options of this protocol that not all others have.
    own: frozenset[str] = frozenset()
    # Whether its result gives thresholds.
    has_curve: bool = True


_PAIRS = frozenset({"pairs", "identities"})
PROTOCOLS = {
    "pairs": ProtocolEntry(Protocol.pairs, listed_pairs, _PAIRS),
    "facenet": ProtocolEntry(Protocol.facenet, listed_pairs, _PAIRS, has_curve=False),
    "bin": ProtocolEntry(Protocol.pairs, lambda of: sources.VerificationBinSource(of.data)),
    "cfp": ProtocolEntry(Protocol.cfp, cfp_lists, frozenset({"pairs", "subset"})),
    "ytf": ProtocolEntry(
        Protocol.ytf, lambda of: sources.YouTubeFacesSource(of.data), frozenset({"max_frames"})
    ),
    "ijb": ProtocolEntry(
        Protocol.ijb, lambda of: sources.IJBSource(of.data, of.subset),
        frozenset({"subset", "task"})
    ),
    "megaface": ProtocolEntry(
        Protocol.megaface,
        lambda of: sources.MegaFaceSource(
            of.data, refined=of.refined, distractors=of.distractors
        ),
        frozenset({"distractors", "refined"}), has_curve=False
    ),
}  # fmt: skip


def open_data(options: ProtocolOptions) -> ProtocolData:
    """Opens the data set of a protocol and the development pairs."""
    development = meta = None
    if options.protocol == "ijb":
        # The metadata says which subset the folder contains.
        meta = IJBMetadata.load(options.data, options.subset)
        options = dataclasses.replace(options, subset=meta.subset)
    images = PROTOCOLS[options.protocol].open(options)
    if options.tune is not None:
        development = evaluation.read_pairs(options.tune, options.tune_data or options.data)
    return ProtocolData(images, development, meta)


def check_options(options: ProtocolOptions) -> None:
    """Raises ValueError if the protocol is unknown or an option is for another protocol."""
    one_of("protocol", options.protocol, PROTOCOLS)
    mine = PROTOCOLS[options.protocol].own
    for name in sorted(frozenset().union(*(entry.own for entry in PROTOCOLS.values()))):
        value = getattr(options, name)
        if value not in (None, False) and name not in mine:
            others = [key for key, entry in PROTOCOLS.items() if name in entry.own]
            raise ValueError(
                f"`{name}` requires `protocol` (--protocol) {' or '.join(others)}. "
                f"Received: {name}={value} with protocol={options.protocol}"
            )
    # `subset` is checked when IJB is opened, because the folder decides it.
    if options.task is not None:
        one_of("task", options.task, TASKS)
    if options.tune is None and options.tune_data is not None:
        raise ValueError("`tune_data` requires `tune` (--tune). Received: tune=None")
    if options.tune is not None and options.similarity.group_aware:
        raise ValueError(
            "`tune` chooses beta and gamma and cannot be combined with a group-aware `similarity` "
            f"(--group-aware, --beta, --gamma). Received: {options.similarity}"
        )
    needed = options.protocol not in ("pairs", "facenet")
    if options.tune is not None and needed and options.tune_data is None:
        raise ValueError(
            "`tune` requires `tune_data` (--tune-data), the folder of its images. "
            "Received: tune_data=None"
        )


def _subjects(meta: IJBMetadata) -> tuple[Any, Any] | None:
    """Returns templates and their subjects from the lists of 1:N, or None without these lists."""
    try:
        lists = [meta.gallery(1), meta.gallery(2), meta.probes()]
    except ValueError:
        return None
    templates, subjects = (np.concatenate(column) for column in zip(*lists, strict=True))
    return templates, subjects


def curve_figures(title: str, curve: Roc) -> dict[str, Callable[[], Any]]:
    """Returns functions that draw a ROC curve and plots made from it, by file name."""
    return {
        "roc": lambda: plots.roc_figure({title: curve}),
        "det": lambda: plots.det_figure({title: curve}),
        "scores": lambda: plots.score_histogram(curve),
        "thresholds": lambda: plots.threshold_table(curve),
    }


def identification_figures(result: Any) -> dict[str, Callable[[], Any]]:
    """Returns functions that draw an identification result, by file name."""
    named = {f"Gallery {n}": found for n, found in enumerate(result.galleries, start=1)}
    figures: dict[str, Callable[[], Any]] = {
        "cmc": lambda: plots.cmc_figure({name: found.cmc for name, found in named.items()})
    }
    if all(found.non_mated for found in named.values()):
        figures["identification_errors"] = lambda: plots.identification_error_figure(
            {
                name: identification_errors(found.scores, found.max_rank)[:2]
                for name, found in named.items()
            }
        )
    return figures
