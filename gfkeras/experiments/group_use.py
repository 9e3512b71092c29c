"""Use of the groups of a GroupFace on faces of people that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from gfkeras.data.faces import decode_files
from gfkeras.errors import positive_int
from gfkeras.evaluation import AllPairs, PairsResult, effective_groups, evaluate_pairs
from gfkeras.evaluation.thresholds import rests_on_enough
from gfkeras.inference import FileEmbeddings
from gfkeras.inference.runtimes import KerasModelRuntime
from gfkeras.models import GroupFace

_BATCH = 64
Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]
# The embeddings that are compared, as a table names them.
CONTROLS = {
    "chosen": "groups as chosen",
    "averaged": "mean of the groups",
    "forced": "one group for all",
    "shuffled": "groups of other faces",
    "without": "v alone",
}


@dataclass(frozen=True)
class Difference:
    """The TAR of the chosen groups minus that of a control, and its standard error."""

    mean: float
    standard_error: float

    @property
    def better(self) -> bool:
        """Whether the groups are better by two standard errors."""
        return self.mean > 2 * self.standard_error

    def __str__(self) -> str:
        text = f"{100 * self.mean:+.2f} ± {100 * self.standard_error:.2f}"
        return text if abs(self.mean) >= 2 * self.standard_error else f"none ({text})"


@dataclass(frozen=True, eq=False)
class GroupUse:
    """The groups of a model on labelled faces.

    Attributes:
        mode: "soft" or "hard".
        shares: (K,) share of the faces in each group.
        within, between: how often two images of one person, and of two people, share a group.
        information: mutual information of group and person in bits, less what the same number of
            random groups would have.
        norms: mean |v| and mean |v^G|.
        far: the FAR of the TARs below, such as "1e-4".
        results: the controls by name (`CONTROLS`).
        differences: chosen minus each other control, over draws of people.
        forced: number of the group in "forced".
        skipped: unreadable files with the reasons.
    """

    mode: str
    shares: tuple[float, ...]
    within: float
    between: float
    information: float
    norms: tuple[float, float]
    far: str
    results: dict[str, PairsResult]
    differences: dict[str, Difference]
    forced: int
    skipped: list[tuple[Any, str]]

    @property
    def used(self) -> float:
        """Number of groups in real use: exp of the entropy of the shares."""
        return effective_groups(self.shares)

    @property
    def verdict(self) -> str:
        """Says whether choosing a group for each face is better than the controls."""
        for name in ("averaged", "forced"):
            if not self.differences[name].better:
                return f"groups unused (not better than {CONTROLS[name]} by two standard errors)"
        if not self.differences["without"].better:
            return "groups used (but not better than v alone by two standard errors)"
        return "groups used (better than their mean, than one group and than v alone)"

    def tar(self, control: str) -> float:
        """The TAR of a control at `far`."""
        return float(self.results[control].tar_at_far[self.far] or 0)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Returns headings, and a row for each control."""
        rows = []
        for name, result in self.results.items():
            difference = self.differences.get(name)
            rows.append([
                CONTROLS[name], f"{self.tar(name):.2%}",
                "" if difference is None else str(difference), f"{result.auc:.5f}",
                f"{result.eer:.2%}",
            ])  # fmt: skip
        return ["", f"TAR@FAR={self.far}", "chosen minus this", "AUC", "EER"], rows

    def summary(self) -> list[tuple[str, str]]:
        """Returns rows of (label, value) to print."""
        chosen = self.results["chosen"]
        return [
            ("Verdict", self.verdict),
            ("Groups used", f"{self.used:.1f} of {len(self.shares)} ({self.mode})"),
            ("Same group", f"{self.within:.1%} within a person, {self.between:.1%} between people"),
            ("Information", f"{self.information:.2f} bits about the person, above chance"),
            ("Mean length", f"v {self.norms[0]:.3g}, v^G {self.norms[1]:.3g}"),
            ("Pairs", f"{chosen.genuine:,} genuine, {chosen.impostor:,} impostor"),
            ("Skipped", f"{len(self.skipped)} files"),
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns everything but single scores, rates from 0 to 1, for `json.dump`."""
        return {
            "mode": self.mode,
            "groups": len(self.shares),
            "used": self.used,
            "shares": list(self.shares),
            "agreement_within": self.within,
            "agreement_between": self.between,
            "information_bits": self.information,
            "norm_instance": self.norms[0],
            "norm_group": self.norms[1],
            "far": self.far,
            "forced_group": self.forced,
            "controls": {name: result.to_json() for name, result in self.results.items()},
            "differences": {
                name: {"mean": each.mean, "standard_error": each.standard_error}
                for name, each in self.differences.items()
            },
            "verdict": self.verdict,
            "skipped_files": [[str(path), reason] for path, reason in self.skipped],
        }


def measure_groups(
    model: GroupFace,
    faces: AllPairs,
    replicates: int = 200,
    resize: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> GroupUse:
    """Measures what the groups of a model do, with controls that take them away.

    Args:
        model: a trained GroupFace. Its mode decides whether groups are weighed or chosen.
        faces: aligned faces of people that the model was not trained on.
        replicates: draws of people for the intervals and standard errors.
        resize: scale faces of another size to fit.
        seed: random seed for the shuffled groups.
        progress: called with (images done, number of images).

    Raises:
        ValueError: if `model` is not a GroupFace, or the pairs of `faces` are fewer than
            100 pairs of different people.
    """
    require_groups(model)
    positive_int("replicates", replicates)
    images, kept, skipped, _ = decode_files(faces.files(), resize=resize)
    outputs = group_outputs(model, images, progress)
    person = faces.person[kept]
    rng = np.random.default_rng(seed)

    def measured(embedding: Array) -> PairsResult:
        found = FileEmbeddings(embedding, None, None, np.asarray(kept, np.int64), skipped)
        return evaluate_pairs(lambda files: found, faces, replicates=replicates)

    parts, count = GroupParts(model, outputs), model.num_groups
    logits = outputs["group_logits"]
    group = np.argmax(logits, axis=1)
    shares = np.bincount(group, minlength=count) / len(group)
    # The logarithms of shares as logits weigh each group by its share, so a group that no face has
    # does not count.
    mean = np.tile(np.log(shares + 1e-12), (len(group), 1))
    results = {
        "chosen": measured(parts.embedding(logits)),
        "averaged": measured(parts.embedding(mean, "soft")),
        "shuffled": measured(parts.embedding(logits[rng.permutation(len(person))])),
        "without": measured(outputs["instance"]),
    }
    chosen = results["chosen"]
    far = low_far(chosen)
    # A group that no face has was never trained, so it is not a fair control.
    forced = {
        k: measured(parts.embedding(np.eye(count)[np.full(len(person), k)], mode="hard"))
        for k in np.unique(group).tolist()
    }
    best = max(forced, key=lambda k: forced[k].tar_at_far[far] or 0)
    results["forced"] = forced[best]
    within, between = _agreement(person, group, count)
    chance = np.mean([_information(person, rng.permutation(group)) for _ in range(20)])
    return GroupUse(
        mode=model.mode,
        shares=tuple(shares.tolist()),
        within=within,
        between=between,
        information=max(0.0, float(_information(person, group) - chance)),
        norms=(_norm(outputs["instance"]), _norm(parts.group(logits))),
        far=far,
        results={name: results[name] for name in CONTROLS},
        differences={
            name: tar_difference(chosen, results[name], far)
            for name in CONTROLS
            if name != "chosen"
        },
        forced=int(best),
        skipped=skipped,
    )


def require_groups(model: object) -> None:
    """Raises ValueError if a model is not a GroupFace."""
    if not isinstance(model, GroupFace):
        raise ValueError(
            f"`model` must be a GroupFace, which has groups. Received: {type(model).__name__}"
        )


def low_far(result: PairsResult) -> str:
    """Returns the smallest FAR with ten expected false accepts. Raises ValueError if none has."""
    enough = [
        name for name, tar in result.tar_at_far.items()
        if tar is not None and rests_on_enough(float(name), result.impostor)
    ]  # fmt: skip
    if not enough:
        raise ValueError(
            "`faces` must have at least 100 pairs of different people, for a FAR of 0.1. "
            f"Received: {result.impostor} pairs"
        )
    return min(enough, key=float)


class GroupParts:
    """The embeddings of a model from its shared feature, for any choice of groups."""

    def __init__(self, model: GroupFace, outputs: dict[str, Array]):
        self.model, self.outputs = model, outputs

    def group(self, logits: Array, mode: str | None = None) -> Array:
        """Returns v^G (B, D) for group logits (B, K)."""
        ensemble, feature = self.model.ensemble, self.outputs["feature"]
        trained = ensemble.mode
        ensemble.mode = mode or trained
        try:
            rows = [
                ops.convert_to_numpy(ensemble(feature[i : i + 1024], logits[i : i + 1024]))
                for i in range(0, len(feature), 1024)
            ]
        finally:
            ensemble.mode = trained
        return np.concatenate(rows)

    def embedding(self, logits: Array, mode: str | None = None) -> Array:
        """Returns v̄ (B, D) or (B, 2·D) for group logits (B, K)."""
        instance, group = self.outputs["instance"], self.group(logits, mode)
        if self.model.combine == "add":
            return instance + group
        return np.concatenate([instance, group], axis=1)


def group_outputs(model: GroupFace, images: Array, progress: Progress | None) -> dict[str, Array]:
    """Returns the outputs "instance" (B, D), "group_logits" (B, K) and "feature" (B, F)."""
    feature = model.ensemble.input[0]
    outputs = {name: model.output[name] for name in ("embedding", "instance", "group_logits")}
    runtime = KerasModelRuntime(keras.Model(model.inputs, {**outputs, "feature": feature}))
    rows: dict[str, list[Array]] = {}
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH].astype(np.float32)
        # Fill up the last batch, because every new batch size would be compiled again.
        full = np.resize(batch, (_BATCH, *batch.shape[1:]))
        for name, found in runtime.run(full).items():
            rows.setdefault(name, []).append(found[: len(batch)])
        if progress is not None:
            progress(min(start + _BATCH, len(images)), len(images))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _agreement(person: Array, group: Array, groups: int) -> tuple[float, float]:
    """Returns how often pairs of one person, and of two people, share a group."""
    table = np.zeros((int(person.max()) + 1, groups))
    np.add.at(table, (person, group), 1)

    def pairs(counts: Array) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    sizes, columns = table.sum(axis=1), table.sum(axis=0)
    same, shared = pairs(sizes), pairs(table)
    every, alike = pairs(np.array([len(person)])), pairs(columns)
    return shared / same, (alike - shared) / (every - same)


def _information(person: Array, group: Array) -> float:
    """Returns the mutual information of two labelings in bits."""
    table = np.zeros((int(person.max()) + 1, int(group.max()) + 1))
    np.add.at(table, (person, group), 1 / len(person))
    alone = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    used = table > 0
    return float((table[used] * np.log2(table[used] / alone[used])).sum())


def _norm(rows: Array) -> float:
    return float(np.linalg.norm(rows, axis=1).mean())


def tar_difference(chosen: PairsResult, other: PairsResult, far: str) -> Difference:
    """Returns the TAR of the first minus that of the second, with its standard error."""
    assert chosen.tar_draws is not None
    assert other.tar_draws is not None
    mean = (chosen.tar_at_far[far] or 0) - (other.tar_at_far[far] or 0)
    # Both results drew the same people, so their common luck cancels out.
    apart = np.subtract(chosen.tar_draws[far], other.tar_draws[far])
    return Difference(mean, float(apart.std(ddof=1)))
