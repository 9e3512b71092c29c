"""Comparing faces embedded by a new model with a gallery of an old model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfkeras.evaluation import COSINE, PairList, PairsResult
from gfkeras.evaluation.embedded import Embed, Embedded, embed_images
from gfkeras.evaluation.metrics import FARS, far_name
from gfkeras.evaluation.pairs import EmbeddedPairs
from gfkeras.experiments.studies.study import readable_far

# "probe/gallery": the versions that embed the first and the second image of a pair.
VERSIONS = ("old/old", "new/new", "new/old", "old/new")
CROSS = ("new/old", "old/new")


@dataclass(frozen=True, eq=False)
class CrossVersionResult:
    """Results of two models on one list of pairs, alone and across versions.

    `results` are keyed by the versions that embed the first and the second image of a pair:
    "old/old", "new/new", "new/old" (a new probe, an old gallery) and "old/new".
    """

    results: dict[str, PairsResult]

    @property
    def cross_accuracy(self) -> float:
        """Accuracy across versions: the mean of "new/old" and "old/new"."""
        return float(np.mean([self.results[name].accuracy for name in CROSS]))

    @property
    def far(self) -> str:
        """The FAR to report. See `readable_far`."""
        return readable_far(self.results["old/old"])

    def cross_tar(self, far: float) -> float | None:
        """Returns TAR at `far` across versions, the mean of both directions.

        Returns None if there are too few impostor pairs.
        """
        tars = [self.results[name].tar_at_far.get(far_name(far)) for name in CROSS]
        return None if None in tars else float(np.mean(tars))  # type: ignore[arg-type]


def evaluate_cross_version(
    new: Embed, old: Embed, pairs: PairList, fars: Sequence[float] = FARS, replicates: int = 0
) -> CrossVersionResult:
    """Measures pairs by the cosine, within each model and across the two.

    Each model embeds each file once. The cosine between a new and an old embedding is meaningful
    only if the new model was trained to be compatible with the old one (FaceNet's harmonic
    embedding, arXiv 1503.03832, appendix). For independently trained models it is noise. Pairs with
    a file that is not readable for both models are left out and counted. See `evaluate_pairs` for
    the arguments. Raises ValueError if the embeddings differ in length.

    Example:
        found = evaluate_cross_version(new.embed_files, old.embed_files, read_pairs(list, faces))
        found.results["new/old"].accuracy, found.results["old/old"].accuracy
    """
    files = pairs.files()
    faces = {"new": embed_images(new, files), "old": embed_images(old, files)}
    widths = {name: embedded.embedding.shape[1] for name, embedded in faces.items()}
    if widths["new"] != widths["old"]:
        raise ValueError(
            "Two models can be compared only if their embeddings have one length: expected "
            f"{widths['old']} numbers, as in the old model. Received: {widths['new']} in the new"
        )
    row = {
        "new": faces["new"].row,
        # The old embeddings are stacked below the new ones, so their rows move down.
        "old": np.where(faces["old"].row >= 0, faces["old"].row + len(faces["new"].embedding), -1),
    }
    position = {path: i for i, path in enumerate(files)}
    first = np.array([position[path] for path in pairs.first])
    second = np.array([position[path] for path in pairs.second])
    read = (row["new"] >= 0) & (row["old"] >= 0)
    # All four comparisons must use the same pairs, so both models need both files.
    readable = read[first] & read[second]
    if not readable.any():
        raise ValueError(f"None of the {len(pairs)} pairs could be read by both models")
    kept = pairs.select(readable)
    new_faces, old_faces = faces.values()
    # Stack the old embeddings below the new ones. A file skipped by both models is listed once.
    both = Embedded(
        np.concatenate([new_faces.embedding, old_faces.embedding]), None, None,
        np.concatenate([new_faces.row, old_faces.row]),
        list(dict([*new_faces.skipped, *old_faces.skipped]).items()),
    )  # fmt: skip
    results = {}
    for name in VERSIONS:
        probe, gallery = name.split("/")
        compared = EmbeddedPairs(
            both, kept, row[probe][first[readable]], row[gallery][second[readable]],
            skipped=len(pairs) - len(kept),
        )  # fmt: skip
        results[name] = compared.measure(COSINE, fars, replicates)
    return CrossVersionResult(results)
