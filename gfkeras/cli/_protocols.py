"""What each protocol of `gfkeras evaluate` reads, embeds and measures."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfkeras.cli._pairs import named_pairs, source_pairs
from gfkeras.cli._protocol_figures import curve_figures, identification_figures

if TYPE_CHECKING:
    from gfkeras.data.alignment import FaceAligner
    from gfkeras.data.sources import Source
    from gfkeras.evaluation import PairList, PairsResult, Roc, Similarity, TunedSimilarity
    from gfkeras.evaluation.embedded import Embed
    from gfkeras.experiments.studies.degradations import Change
    from gfkeras.inference import Embedder, SourceFaces


@dataclass(frozen=True)
class Request:
    """The options of the command."""

    protocol: str
    data: Path
    pairs: str | None
    identities: Path | None
    subset: str | None
    task: str | None
    max_frames: int | None
    distractors: str | None
    refined: bool
    tune: str | None
    tune_data: Path | None
    similarity: Similarity
    bootstrap: int
    seed: int


@dataclass(frozen=True)
class Measured:
    """What a protocol found.

    Attributes:
        results: by name; the name is empty where there is one.
        curve: the ROC to choose thresholds by.
        figures: makes each picture, by its file's name.
        measured: what it was measured on, in a few words.
    """

    results: dict[str, Any]
    curve: Roc | None
    figures: dict[str, Callable[[], Any]]
    measured: str


class Protocol:
    """Reads a data set and measures a model on it.

    Args:
        request: the options.
        embedder: of the model.
        listed: the pairs of a list, for protocols that have one.
        aligner: finds and aligns faces, where the images are photos.
        progress: a function (done, total).
    """

    def __init__(
        self,
        request: Request,
        embedder: Embedder,
        listed: PairList | None,
        aligner: FaceAligner | None,
        progress: Callable[[int, int], None] | None,
    ):
        self.listed = listed
        self.request, self.embedder, self.aligner = request, embedder, aligner
        self.progress = progress
        self.tuned: TunedSimilarity | None = None

    def run(self) -> Measured:
        """Measures, after choosing β and γ where that is asked for."""
        return OPTIONS[self.request.protocol].run(self)

    def pairs(self) -> Measured:
        """A list of pairs: LFW's and its like, or a verification set of InsightFace."""
        from gfkeras.evaluation import evaluate_pairs

        listed, embed = self.pair_faces()
        result = evaluate_pairs(
            embed(None), listed, similarity=self.similarity(listed),
            replicates=self.request.bootstrap,
        )  # fmt: skip
        return self.of_pairs(result)

    def pair_faces(self) -> tuple[PairList, Callable[[Change | None], Embed]]:
        """The pairs, and from what is done to a face to what embeds the faces of their files."""
        if self.listed is not None:
            return self.listed, lambda change: functools.partial(self.embed_files, change=change)
        from gfkeras.data.sources import VerificationBinSource

        source = VerificationBinSource(self.request.data)

        def embed(change: Change | None) -> Embed:
            faces = self._faces(source, change)
            return lambda paths: faces([path.as_posix() for path in paths])

        return source_pairs(source), embed

    def facenet(self) -> Measured:
        """VAL at FAR over squared distances."""
        from gfkeras.evaluation import evaluate_validation_rate

        listed = self.listed
        assert listed is not None
        similarity = self.similarity(listed)
        result = evaluate_validation_rate(
            self.embed_files, listed, similarity=similarity, replicates=self.request.bootstrap
        )
        return Measured({"": result}, None, {}, self.listed_name)

    def ytf(self) -> Measured:
        """YouTube Faces."""
        from gfkeras.data.sources import YouTubeFacesSource
        from gfkeras.evaluation import evaluate_youtube_faces

        source = YouTubeFacesSource(self.request.data)
        similarity = self.similarity(None)
        faces = self._faces(source)
        result = evaluate_youtube_faces(
            faces, faces.items, source.video_pairs(), similarity,
            max_frames=self.request.max_frames, replicates=self.request.bootstrap,
        )  # fmt: skip
        return dataclasses.replace(self.of_pairs(result), measured="YouTube Faces")

    def ijb(self) -> Measured:
        """IJB-B or IJB-C: 1:1, 1:N, or both over the same templates."""
        from gfkeras.data.sources import IJBMetadata, IJBSource
        from gfkeras.errors import one_of
        from gfkeras.evaluation import (
            evaluate_ijb_identification,
            evaluate_ijb_verification,
            ijb_templates,
        )

        request = self.request
        task = one_of("task", request.task or "both", ("1:1", "1:N", "both"))
        similarity = self.similarity(None)
        meta = IJBMetadata.load(request.data, request.subset)
        templates, skipped = ijb_templates(self._faces(IJBSource(request.data, meta.subset)), meta)
        results: dict[str, Any] = {}
        figures: dict[str, Callable[[], Any]] = {}
        curve = None
        if task != "1:N":
            results["verification"] = found = evaluate_ijb_verification(
                templates, meta.pairs(), similarity, subjects=_subjects(meta),
                replicates=min(request.bootstrap, 200), skipped_files=skipped,
            )  # fmt: skip
            curve = found.curve
            figures |= curve_figures(self._title, curve)
        if task != "1:1":
            results["identification"] = identified = evaluate_ijb_identification(
                templates, meta, similarity, request.bootstrap, skipped
            )
            figures |= identification_figures(identified)
        if len(results) == 1:
            results = {"": next(iter(results.values()))}
        return Measured(results, curve, figures, meta.subset)

    def megaface(self) -> Measured:
        """FaceScrub among a million strangers."""
        from gfkeras.data.sources import MegaFaceSource
        from gfkeras.evaluation import evaluate_megaface, plots
        from gfkeras.evaluation.embedded import embed_images
        from gfkeras.evaluation.megaface import distractor_blocks

        request = self.request
        similarity = self.similarity(None)
        source = MegaFaceSource(
            request.data, refined=request.refined, distractors=request.distractors
        )
        faces = self._faces(source)
        actors = [name for name, item in faces.items.items() if item.identity is not None]
        strangers = [name for name, item in faces.items.items() if item.identity is None]
        if not actors or not strangers:
            raise ValueError(
                "`data` must hold FaceScrub's images and MegaFace's distractors. Received: "
                f"{len(actors)} images of actors, {len(strangers)} distractors"
            )
        probes = embed_images(faces, actors)
        kept = [name for name, row in zip(actors, probes.row.tolist(), strict=True) if row >= 0]
        skipped = [*faces.refused.items(), *probes.skipped]

        result = evaluate_megaface(
            probes.embedding, probes.group_feature, [faces.items[n].identity for n in kept],
            distractor_blocks(faces, strangers, skipped), len(strangers), similarity,
            replicates=request.bootstrap, refined=request.refined, skipped_files=skipped,
        )  # fmt: skip
        most = max(result.cmc)
        return Measured(
            {"": result},
            None,
            {
                "distractors": lambda: plots.distractor_figure({self._title: result.rank_1}),
                "cmc": lambda: plots.cmc_figure({f"{most:,} distractors": result.cmc[most]}),
            },
            "MegaFace",
        )

    @property
    def _title(self) -> str:
        return "group-aware" if self.used.group_aware else "cosine"

    @property
    def used(self) -> Similarity:
        """The similarity that is measured."""
        return self.request.similarity if self.tuned is None else self.tuned.similarity

    def similarity(self, measured: PairList | None) -> Similarity:
        """That of the options, or the one chosen on development pairs."""
        from gfkeras.evaluation import read_pairs, tune_similarity

        request = self.request
        if request.tune is not None:
            data = request.tune_data or request.data
            development = read_pairs(request.tune, data)
            self.tuned = tune_similarity(
                self.embed_files, development, measured, distance=request.similarity.distance
            )
        return self.used

    def embed_files(self, paths: list[Path], change: Change | None = None) -> Any:
        """Embeds files, aligned or photos, after something is done to each face."""
        aligner = self.aligner

        def load(position: int) -> Any:
            from gfkeras.data.images import read_image

            path = paths[position]
            face = read_image(path, self.embedder.image_size) if aligner is None else aligner(path)
            return face if change is None else change(face)

        return self.embedder.embed_loaded(paths, load, self.progress)

    def _faces(self, source: Source, change: Change | None = None) -> SourceFaces:
        from gfkeras.inference import SourceFaces

        return SourceFaces(self.embedder, source, self.aligner, self.progress, change)

    @property
    def listed_name(self) -> str:
        """What the pairs are called."""
        return Path(self.request.pairs or self.request.data).name

    def of_pairs(self, result: PairsResult) -> Measured:
        """A result on pairs with its pictures."""
        from gfkeras.evaluation import plots

        curve = result.roc()
        figures = curve_figures(self._title, curve)
        figures["scores"] = lambda: plots.score_histogram(result)
        return Measured({"": result}, curve, figures, self.listed_name)


@dataclass(frozen=True)
class Options:
    """A protocol: what runs it, and the options that only some protocols have."""

    run: Callable[[Protocol], Measured]
    own: frozenset[str]


OPTIONS = {
    "pairs": Options(Protocol.pairs, frozenset({"pairs", "identities"})),
    "facenet": Options(Protocol.facenet, frozenset({"pairs", "identities"})),
    "bin": Options(Protocol.pairs, frozenset()),
    "ytf": Options(Protocol.ytf, frozenset({"max_frames"})),
    "ijb": Options(Protocol.ijb, frozenset({"subset", "task"})),
    "megaface": Options(Protocol.megaface, frozenset({"distractors", "refined"})),
}


def check_options(request: Request) -> None:
    """Raises ValueError for an option of another protocol, and an unknown protocol."""
    from gfkeras.errors import one_of

    one_of("protocol", request.protocol, OPTIONS)
    mine = OPTIONS[request.protocol].own
    for name in sorted(frozenset().union(*(options.own for options in OPTIONS.values()))):
        value = getattr(request, name)
        if value not in (None, False) and name not in mine:
            others = [key for key, options in OPTIONS.items() if name in options.own]
            raise ValueError(
                f"`{name}` goes with --protocol {' or '.join(others)}. Received: {name}={value} "
                f"with --protocol {request.protocol}"
            )
    if request.tune is None and request.tune_data is not None:
        raise ValueError("`tune_data` goes with --tune.")
    if request.tune is not None and request.similarity.group_aware:
        raise ValueError("`tune` chooses beta and gamma: leave out --group-aware, --beta, --gamma.")
    needed = request.protocol not in ("pairs", "facenet")
    if request.tune is not None and needed and request.tune_data is None:
        raise ValueError("`tune` needs --tune-data, the folder of the images of its pairs.")


def listed_pairs(request: Request) -> PairList | None:
    """The pairs that --pairs names; None for a protocol that has its own."""
    if "pairs" not in OPTIONS[request.protocol].own:
        return None
    if request.pairs is None:
        raise ValueError(
            f"`pairs` must name what to compare with --protocol {request.protocol}: a pairs "
            "file, all, or a number. Received: none"
        )
    return named_pairs(request.pairs, request.data, request.identities, request.seed)


def _subjects(meta: Any) -> tuple[Any, Any] | None:
    """Templates and their subjects, as far as the lists of 1:N say; None where they are missing."""
    import numpy as np

    try:
        lists = [meta.gallery(1), meta.gallery(2), meta.probes()]
    except ValueError:
        return None
    templates, subjects = (np.concatenate(column) for column in zip(*lists, strict=True))
    return templates, subjects
