"""Everything that is measured of one model."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfkeras.errors import positive_int
from gfkeras.files import size_bytes
from gfkeras.inference.embedder import Embedder
from gfkeras.inference.foreign_artefacts import ANY_RANGE
from gfkeras.inference.measuring.latency import Latency, latencies
from gfkeras.inference.measuring.profiles import (
    Operator,
    Profile,
    child_json,
    litert_profile,
    onnx_profile,
)
from gfkeras.inference.measuring.xnnpack import LeftOperator, left_operators
from gfkeras.processors import usable_processors
from gfkeras.zoo.preset_files import artefact_path, preset_named

_LITERT, _ONNX = ".tflite", ".onnx"


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A kind of operator that XNNPACK leaves to LiteRT's kernels, such as int8 "PRELU".

    `share` is of one run's time; None without a profile.
    """

    name: str
    dtype: str
    operators: tuple[LeftOperator, ...]
    share: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measurements of one model.

    Attributes:
        latencies: one for each number of threads, in the order asked for.
        batch_size: images of a batch, for `images_per_second`.
        size_bytes: of the file or folder; None for a preset that comes without an artefact.
        peak_memory_bytes: by how much opening the model and running one image raises a fresh
            process's resident memory at its highest, without runtime and imports; None off Linux.
        operators: the dearest kind first, one image on one thread; None for Keras models and
            SavedModels, or where the runtime's profiler failed.
        run_microseconds: the whole profiled run; the rest of it lies between `operators`.
        operators_missing: why `operators` is None, else "".
        not_taken: by XNNPACK, by kind, the dearest first; None for anything but a .tflite.
    """

    latencies: tuple[Latency, ...]
    batch_size: int
    size_bytes: int | None
    peak_memory_bytes: int | None
    operators: tuple[Operator, ...] | None
    run_microseconds: float | None
    operators_missing: str
    not_taken: tuple[NotTaken, ...] | None

    def to_json(self) -> dict[str, Any]:
        """Plain values; the first latency's also at the top."""
        values = dataclasses.asdict(self)
        first = {name: value for name, value in values["latencies"][0].items() if name != "threads"}
        values |= {"threads": values["latencies"], "not_taken_by_xnnpack": values["not_taken"]}
        names = ("size_bytes", "peak_memory_bytes", "batch_size", "threads", "operators",
                 "run_microseconds", "not_taken_by_xnnpack")  # fmt: skip
        return first | {name: values[name] for name in names}


def measure(
    source: str | os.PathLike[str],
    threads: Sequence[int] | None = None,
    repeats: int = 50,
    batch_size: int = 32,
) -> Measurement:
    """Latency, memory, and which operators the time goes to.

    Args:
        source: a preset, a model folder, a SavedModel, a .tflite or an .onnx file.
        threads: each is measured, in turns; by default 1 and all usable processors. TensorFlow's
            threads belong to the process, so a Keras model or a SavedModel takes none.
        repeats: measured calls with one image; at least 3.
        batch_size: images at once for the throughput.

    Raises:
        ValueError: for what cannot be read, or threads where they cannot be chosen.
    """
    if positive_int("repeats", repeats) < 3:
        raise ValueError(f"`repeats` must be at least 3. Received: repeats={repeats}")
    if preset := preset_named(source):
        source = artefact_path(preset) or source
    path = Path(source)
    suffix = "" if path.is_dir() else path.suffix.lower()
    counts: list[int | None] = [None]
    if suffix in (_LITERT, _ONNX):
        counts = list(dict.fromkeys(threads or (1, usable_processors())))
        for count in counts:
            positive_int("threads", count)
    elif threads:
        raise ValueError(
            "`threads` goes with a .tflite or an .onnx file: TensorFlow's are set for the whole "
            "process, with TF_NUM_INTRAOP_THREADS in its environment. Received: threads="
            f"{list(threads)} for {str(source)!r}"
        )
    found = latencies(source, counts, repeats, batch_size)
    profile, missing = _profile(path, suffix, repeats)
    return Measurement(
        latencies=tuple(found),
        batch_size=batch_size,
        size_bytes=size_bytes(path) if path.exists() else None,
        peak_memory_bytes=_peak_memory(source, counts[0] or 1),
        operators=None if profile is None else profile.operators(),
        run_microseconds=None if profile is None else profile.microseconds,
        operators_missing=missing,
        not_taken=_not_taken(path, profile) if suffix == _LITERT else None,
    )


def _profile(path: Path, suffix: str, runs: int) -> tuple[Profile | None, str]:
    """The operators' times, or why there are none."""
    try:
        if suffix == _LITERT:
            return litert_profile(path, runs), ""
        if suffix == _ONNX:
            return onnx_profile(path, Embedder(path, input_range=ANY_RANGE).image_size, runs), ""
    except RuntimeError as error:
        return None, f"the runtime's profiler does not work here: {error}"
    return None, "only .tflite and .onnx files have their operators timed"


def _peak_memory(source: str | os.PathLike[str], threads: int) -> int | None:
    try:
        return int(child_json("_peak_child.py", os.fspath(source), str(threads)))
    except RuntimeError:
        return None


def _not_taken(path: Path, profile: Profile | None) -> tuple[NotTaken, ...]:
    kinds: dict[tuple[str, str], list[LeftOperator]] = {}
    for operator in left_operators(path):
        kinds.setdefault((operator.name, operator.dtype), []).append(operator)
    times = {} if profile is None else {c.index: c.microseconds for c in profile.calls}
    rows = [
        NotTaken(
            name, dtype, tuple(operators),
            None if profile is None
            else profile.share(sum(times.get(each.index, 0.0) for each in operators)),
        )
        for (name, dtype), operators in kinds.items()
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: -(row.share or 0.0)))
