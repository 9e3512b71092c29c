"""The scale α of a GroupFace's groups, chosen on held-out people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfkeras.data.faces import decode_files
from gfkeras.errors import in_range, positive_int
from gfkeras.evaluation import AllPairs, evaluate_pairs
from gfkeras.experiments.group_use import (
    Difference,
    GroupParts,
    Progress,
    group_outputs,
    low_far,
    require_groups,
    tar_difference,
)
from gfkeras.inference import FileEmbeddings
from gfkeras.models import GroupFace


@dataclass(frozen=True, eq=False)
class Calibration:
    """The choice of α in v̄ = v + α·v^G on held-out people.

    Attributes:
        scale: the chosen α.
        far: the FAR of the TARs, such as "1e-4".
        tars: the TAR by α, with 0 for v alone.
        gains: TAR minus that of v alone by α.
    """

    scale: float
    far: str
    tars: dict[float, float]
    gains: dict[float, Difference]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Returns headings, and a row for each α."""
        rows = [
            [f"{scale:g}", f"{tar:.2%}", str(self.gains.get(scale, "")),
             "chosen" if scale == self.scale else ""]
            for scale, tar in self.tars.items()
        ]  # fmt: skip
        return ["α", f"TAR@FAR={self.far}", "gain over v alone", ""], rows

    def to_json(self) -> dict[str, Any]:
        """Returns the choice for `json.dump`."""
        gains = {
            str(scale): {"mean": gain.mean, "standard_error": gain.standard_error}
            for scale, gain in self.gains.items()
        }
        tars = {str(scale): tar for scale, tar in self.tars.items()}
        return {"scale": self.scale, "far": self.far, "tars": tars, "gains": gains}


def calibrate_groups(
    model: GroupFace,
    faces: AllPairs,
    scales: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    replicates: int = 200,
    resize: bool = False,
    progress: Progress | None = None,
) -> Calibration:
    """Chooses α on held-out people and sets `model.group_scale`.

    The best α by TAR at a low FAR is kept only if it is better than v alone by two standard
    errors. Otherwise α = 0, so groups that do not help do no harm. Measure the result on other
    people than these. The arguments are those of `measure_groups`. `scales` are the values to try.

    Raises:
        ValueError: like `measure_groups`, or if a scale is negative.
    """
    require_groups(model)
    positive_int("replicates", replicates)
    images, kept, skipped, _ = decode_files(faces.files(), resize=resize)
    outputs = group_outputs(model, images, progress)
    instance, before = outputs["instance"], model.group_scale
    model.group_scale = 1.0
    try:
        group = GroupParts(model, outputs).group(outputs["group_logits"])
    finally:
        model.group_scale = before
    found = {}
    for scale in dict.fromkeys((0.0, *scales)):
        part = in_range("scales", scale, 0, math.inf) * group
        added = instance + part if model.combine == "add" else np.concatenate([instance, part], 1)
        rows = FileEmbeddings(added, None, None, np.asarray(kept, np.int64), skipped)
        found[scale] = evaluate_pairs(lambda files: rows, faces, replicates=replicates)  # noqa: B023
    far = low_far(found[0.0])
    gains = {s: tar_difference(result, found[0.0], far) for s, result in found.items() if s}
    better = [scale for scale, gain in gains.items() if gain.better]
    chosen = max(better, key=lambda scale: gains[scale].mean, default=0.0)
    model.group_scale = chosen
    return Calibration(
        chosen, far, {s: float(r.tar_at_far[far] or 0) for s, r in found.items()}, gains
    )
