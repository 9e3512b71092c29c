"""IJB-B and IJB-C: verification and identification of templates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gfkeras.evaluation.embedded import Embed, embed_images
from gfkeras.evaluation.identification import (
    IdentificationResult,
    identification_result,
    search_scores,
)
from gfkeras.evaluation.intervals import interval_text, subject_intervals, tar_rows
from gfkeras.evaluation.metrics import FARS, Roc, operating_points, parted, roc
from gfkeras.evaluation.similarity import COSINE, Similarity
from gfkeras.evaluation.template_pooling import PooledTemplates, Pooling, pool_templates

Integers = npt.NDArray[np.int64]
# How many templates are scored in one matrix product, and how many probes are searched together.
_TEMPLATES, _PROBES = 1024, 1024
# If fewer than 1 in `_SPARSE` of all pairs are listed, `_PAIRS` of them are scored at a time.
_SPARSE, _PAIRS = 200, 1024


@dataclass(frozen=True, eq=False)
class IJBVerificationResult:
    """1:1 verification of templates.

    Attributes:
        curve: the exact ROC.
        tar_at_far, threshold_at_far: keyed "1e-6". None below 1 / impostors.
        skipped: pairs left out because a template has no readable image.
        missing: templates without a readable image.
        skipped_files: the unreadable images, each with the reason.
        intervals: {"tar_at_far": 95 % intervals} over drawn subjects. None if not requested.
    """

    curve: Roc
    tar_at_far: dict[str, float | None]
    threshold_at_far: dict[str, float | None]
    skipped: int = 0
    missing: Sequence[int] = ()
    skipped_files: Sequence[tuple[Any, str]] = ()
    intervals: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the curve, for `json.dump`."""
        return {
            "tar_at_far": self.tar_at_far,
            "threshold_at_far": self.threshold_at_far,
            "auc": self.curve.auc,
            "eer": self.curve.eer,
            "intervals": self.intervals,
            "pairs": self.curve.genuine + self.curve.impostor,
            "genuine": self.curve.genuine,
            "impostor": self.curve.impostor,
            "skipped": self.skipped,
            "missing_templates": list(self.missing),
            "skipped_files": [[str(name), reason] for name, reason in self.skipped_files],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Returns rows of (label, value) to print."""
        counts = f"{self.curve.genuine:,} genuine, {self.curve.impostor:,} impostor"
        return [
            *tar_rows(self.tar_at_far, (self.intervals or {}).get("tar_at_far", {})),
            ("AUC", f"{self.curve.auc:.5f}"),
            ("EER", f"{self.curve.eer:.2%}"),
            ("Pairs", f"{self.curve.genuine + self.curve.impostor:,} ({counts})"),
            ("Skipped", f"{self.skipped:,} pairs, {len(self.missing):,} templates, "
                        f"{len(self.skipped_files):,} images"),
        ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class IJBIdentificationResult:
    """1:N identification in both galleries.

    Attributes:
        galleries: the results of gallery 1 and of gallery 2.
        missing: templates without a readable image. Their probes are left out, and so are the
            probes whose mate is such a template.
        skipped_files: the unreadable images, each with the reason.
    """

    galleries: tuple[IdentificationResult, IdentificationResult]
    missing: Sequence[int] = ()
    skipped_files: Sequence[tuple[Any, str]] = ()

    @property
    def rank(self) -> dict[str, float]:
        """Identification rates: the mean of both galleries."""
        first, second = self.galleries
        return {rank: (first.rank[rank] + second.rank[rank]) / 2 for rank in first.rank}

    @property
    def fnir_at_fpir(self) -> dict[str, float | None]:
        """FNIR: the mean of both galleries. None if one of them is not measurable."""
        first, second = (gallery.fnir_at_fpir for gallery in self.galleries)
        return {
            name: None if value is None or (other := second[name]) is None else (value + other) / 2
            for name, value in first.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Returns everything but single scores, for `json.dump`."""
        return {
            "rank": self.rank,
            "fnir_at_fpir": self.fnir_at_fpir,
            "galleries": [gallery.to_json() for gallery in self.galleries],
            "missing_templates": list(self.missing),
            "skipped_files": [[str(name), reason] for name, reason in self.skipped_files],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Returns rows of (label, value) to print: the mean, then each gallery with intervals."""
        rows = []
        for kind, title, means in (
            ("rank", "Rank-{}", self.rank),
            ("fnir_at_fpir", "FNIR @ FPIR {}", self.fnir_at_fpir),
        ):
            for name, mean in means.items():
                parts = []
                for gallery in self.galleries:
                    value = getattr(gallery, kind)[name]
                    known = (gallery.intervals or {}).get(kind, {}).get(name)
                    text = "not measurable" if value is None else f"{value:.2%}"
                    parts.append(text + interval_text(known))
                text = "too few non-mated probes" if mean is None else f"{mean:.2%}"
                rows.append((title.format(name), f"{text}  = {' and '.join(parts)}"))
        for number, gallery in enumerate(self.galleries, start=1):
            left_out = f", {gallery.skipped:,} left out" if gallery.skipped else ""
            probes = f"{gallery.mated:,} mated and {gallery.non_mated:,} non-mated probes"
            rows.append((f"Gallery {number}", f"{gallery.gallery:,} templates; {probes}{left_out}"))
        skipped = f"{len(self.missing):,} templates, {len(self.skipped_files):,} images"
        return [*rows, ("Skipped", skipped)]


class IJBProtocol(Protocol):
    """The protocol files of IJB, as `gfkeras.data.sources.IJBMetadata` reads them.

    The N images have `names`, integer `templates` and `medias`, and the face detector's `scores`.
    """

    @property
    def names(self) -> npt.NDArray[Any]: ...
    @property
    def templates(self) -> npt.NDArray[Any]: ...
    @property
    def medias(self) -> npt.NDArray[Any]: ...
    @property
    def scores(self) -> npt.NDArray[Any]: ...
    def pairs(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]: ...
    def gallery(self, number: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]: ...
    def probes(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]: ...


def ijb_templates(
    embed: Embed, protocol: IJBProtocol, pooling: Pooling | None = None
) -> tuple[PooledTemplates, Sequence[tuple[Any, str]]]:
    """Returns the pooled templates of a protocol, and the images that were not readable.

    `embed` takes the protocol's image names and returns `ImageEmbeddings`. `pooling` chooses the
    weights of the images. By default, media, detector score and norm all count.
    """
    faces = embed_images(embed, protocol.names.tolist())
    columns = protocol.templates, protocol.medias, protocol.scores
    return pool_templates(faces, *columns, pooling or Pooling()), faces.skipped


def evaluate_ijb_verification(
    templates: PooledTemplates,
    pairs: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    similarity: Similarity = COSINE,
    fars: Sequence[float] = FARS,
    subjects: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    replicates: int = 0,
    skipped_files: Sequence[tuple[Any, str]] = (),
) -> IJBVerificationResult:
    """Measures TAR at FAR over pairs of templates, exactly for any number of pairs.

    Args:
        templates: the templates that `ijb_templates` returned.
        pairs: (first, second, same), (P,) each: `IJBMetadata.pairs()`.
        similarity, fars, replicates: see `evaluate_pairs`.
        subjects: (templates, their subjects), from which intervals draw. By default each template
            counts as a separate subject.
        skipped_files: unreadable images to list in the result.

    Raises:
        ValueError: if no pair, or no pair of one kind, is left.
    """
    first, second, same = (np.asarray(column) for column in pairs)
    rows = templates.rows(first), templates.rows(second)
    readable = (rows[0] >= 0) & (rows[1] >= 0)
    skipped = int((~readable).sum())
    missing = templates.missing
    if skipped:
        # Some of these templates may have no image in the lists at all.
        missing = np.union1d(missing, np.concatenate([first[rows[0] < 0], second[rows[1] < 0]]))
        rows = rows[0][readable], rows[1][readable]
        first, second, same = first[readable], second[readable], same[readable]
    same = same.astype(np.bool_)
    scores = _pair_scores(templates, *rows, similarity)
    curve = roc(scores, same)
    intervals = None
    if replicates:
        owner = templates.ids if subjects is None else _owners(templates.ids, *subjects)
        mine = owner[rows[0]], owner[rows[1]]
        intervals = {"tar_at_far": subject_intervals(scores, same, *mine, fars, replicates)}
    points = parted(operating_points(curve, fars))
    return IJBVerificationResult(
        curve, *points, skipped, missing.tolist(), skipped_files, intervals
    )


def evaluate_ijb_identification(
    templates: PooledTemplates,
    protocol: IJBProtocol,
    similarity: Similarity = COSINE,
    replicates: int = 0,
    skipped_files: Sequence[tuple[Any, str]] = (),
) -> IJBIdentificationResult:
    """Searches every probe in both galleries.

    A probe is mated in a gallery that contains its subject. The arguments are those of
    `evaluate_ijb_verification`. The bootstrap draws the probes' subjects. Raises ValueError for an
    empty gallery or a gallery without a mated probe.
    """
    probes, missing = protocol.probes(), templates.missing
    found = []
    for number in (1, 2):
        gallery = protocol.gallery(number)
        for ids, _ in (gallery, probes):
            missing = np.union1d(missing, ids[templates.rows(ids) < 0])
        found.append(_search(templates, gallery, probes, similarity, replicates))
    return IJBIdentificationResult((found[0], found[1]), missing.tolist(), skipped_files)


def _search(
    templates: PooledTemplates,
    gallery: tuple[Integers, Integers],
    probes: tuple[Integers, Integers],
    similarity: Similarity,
    replicates: int,
) -> IdentificationResult:
    rows, searched = templates.rows(gallery[0]), templates.rows(probes[0])
    subjects = gallery[1][rows >= 0]
    # A subject whose template was not readable still belongs to the gallery. Its probes are neither
    # mated, since nobody could find them, nor strangers. They are left out.
    lost = np.setdiff1d(gallery[1], subjects)
    kept = (searched >= 0) & ~np.isin(probes[1], lost)
    blocks = _score_blocks(templates, searched[kept], probes[1][kept], rows[rows >= 0], similarity)
    scores, skipped = search_scores(blocks, subjects), int((~kept).sum())
    return identification_result(scores, len(subjects), replicates=replicates, skipped=skipped)


def _pair_scores(
    templates: PooledTemplates, first: Integers, second: Integers, similarity: Similarity
) -> npt.NDArray[np.float32]:
    """Returns the score of each pair.

    IJB-C lists one in 34 of all possible pairs. Multiplying whole blocks and picking the listed
    pairs takes a quarter of the time of gathering two templates for each pair. Short lists are
    scored pair by pair.
    """
    scores = np.empty(len(first), np.float32)
    embedding, group = templates.embedding, templates.group_feature
    if len(first) * _SPARSE < len(embedding) ** 2:
        for start in range(0, len(first), _PAIRS):
            a, b = first[start : start + _PAIRS], second[start : start + _PAIRS]
            groups = (None, None) if group is None else (group[a], group[b])
            scores[start : start + _PAIRS] = similarity(embedding[a], embedding[b], *groups)
        return scores
    # A stable sort of 16-bit block numbers is a radix sort, much faster than sorting 64-bit rows.
    order = np.argsort((first // _TEMPLATES).astype(np.uint16), kind="stable")
    starts = range(0, len(embedding), _TEMPLATES)
    ends = np.searchsorted(first[order] // _TEMPLATES, np.arange(len(starts) + 1))
    for start, begin, end in zip(starts, ends, ends[1:], strict=False):
        pairs, rows = order[begin:end], slice(start, start + _TEMPLATES)
        pick = first[pairs] - start, second[pairs]
        # The rows are normalised, so their products are cosines.
        found = (embedding[rows] @ embedding.T)[pick]
        if similarity.group_aware:
            mine = None if group is None else group[rows]
            found -= similarity.penalty(similarity.distance_matrix(mine, group)[pick])
        scores[pairs] = found
    return scores


def _score_blocks(
    templates: PooledTemplates,
    probes: Integers,
    subjects: Integers,
    gallery: Integers,
    similarity: Similarity,
) -> Iterator[tuple[npt.NDArray[np.float32], Integers]]:
    embedding, group = templates.embedding, templates.group_feature
    kept = embedding[gallery], None if group is None else group[gallery]
    for start in range(0, len(probes), _PROBES):
        rows = probes[start : start + _PROBES]
        mine = None if group is None else group[rows]
        scores = similarity.matrix(embedding[rows], kept[0], mine, kept[1])
        yield scores, subjects[start : start + _PROBES]


def _owners(ids: Integers, templates: npt.ArrayLike, subjects: npt.ArrayLike) -> Integers:
    """Returns each template's subject. An unknown one gets a unique number below all others."""
    known, owners = np.asarray(templates, np.int64), np.asarray(subjects, np.int64)
    if known.shape != owners.shape or not len(known):
        raise ValueError(
            "`subjects` must hold template ids and the subject of each. "
            f"Received: shapes {known.shape} and {owners.shape}"
        )
    order = np.argsort(known)
    at = np.minimum(np.searchsorted(known[order], ids), len(known) - 1)
    found = known[order][at] == ids
    # Numbers below all known subjects cannot collide with one of them.
    own = owners.min(initial=0) - 1 - np.arange(len(ids))
    return np.where(found, owners[order][at], own)
