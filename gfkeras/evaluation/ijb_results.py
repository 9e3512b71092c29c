"""What IJB's protocols found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gfkeras.evaluation.identification import IdentificationResult
from gfkeras.evaluation.intervals import interval_text
from gfkeras.evaluation.metrics import Roc


@dataclass(frozen=True, eq=False)
class IJBVerificationResult:
    """1:1 verification of templates.

    Attributes:
        curve: the exact ROC.
        tar_at_far: keyed "1e-6"; None below 1 / impostors.
        threshold_at_far: likewise.
        skipped: pairs left out because no image of a template could be read.
        missing: templates without any image read.
        skipped_files: images not read, each with the reason.
        intervals: {"tar_at_far": 95 % intervals}, subjects drawn; None where not asked for.
    """

    curve: Roc
    tar_at_far: dict[str, float | None]
    threshold_at_far: dict[str, float | None]
    skipped: int = 0
    missing: Sequence[int] = ()
    skipped_files: Sequence[tuple[Any, str]] = ()
    intervals: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything but the curve, for `json.dump`."""
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
        """Rows of (label, value) to print."""
        known = (self.intervals or {}).get("tar_at_far", {})
        rows = [
            (
                f"TAR @ FAR {name}",
                "too few impostor pairs"
                if tar is None
                else f"{tar:.2%}" + interval_text(known.get(name)),
            )
            for name, tar in self.tar_at_far.items()
        ]
        counts = f"{self.curve.genuine:,} genuine, {self.curve.impostor:,} impostor"
        return [
            *rows,
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
        galleries: the figures of gallery 1 and 2.
        missing: templates without any image read. Their probes are left out, and those whose
            mate they were.
        skipped_files: images not read, each with the reason.
    """

    galleries: tuple[IdentificationResult, IdentificationResult]
    missing: Sequence[int] = ()
    skipped_files: Sequence[tuple[Any, str]] = ()

    @property
    def rank(self) -> dict[str, float]:
        """Identification rates, mean of both galleries."""
        first, second = self.galleries
        return {rank: (first.rank[rank] + second.rank[rank]) / 2 for rank in first.rank}

    @property
    def fnir_at_fpir(self) -> dict[str, float | None]:
        """FNIR, mean of both galleries; None where one cannot be measured."""
        means: dict[str, float | None] = {}
        for name in self.galleries[0].fnir_at_fpir:
            values = [gallery.fnir_at_fpir[name] for gallery in self.galleries]
            known = [value for value in values if value is not None]
            means[name] = sum(known) / 2 if len(known) == 2 else None
        return means

    def to_json(self) -> dict[str, Any]:
        """For `json.dump`."""
        return {
            "rank": self.rank,
            "fnir_at_fpir": self.fnir_at_fpir,
            "galleries": [gallery.to_json() for gallery in self.galleries],
            "missing_templates": list(self.missing),
            "skipped_files": [[str(name), reason] for name, reason in self.skipped_files],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Rows of (label, value) to print: the mean, and each gallery with its interval."""
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
        rows.append(
            ("Skipped", f"{len(self.missing):,} templates, {len(self.skipped_files):,} images")
        )
        return rows
