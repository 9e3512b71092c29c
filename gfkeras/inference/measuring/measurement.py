"""All measurements of one model. Latency and throughput are by number of threads."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfkeras.data.images import face_size
from gfkeras.errors import positive_int
from gfkeras.files import size_bytes
from gfkeras.inference.embedder import Embedder
from gfkeras.inference.foreign_artefacts import ANY_RANGE
from gfkeras.inference.measuring.profiles import (
    LeftOperator,
    Operator,
    Profile,
    child_json,
    left_operators,
    litert_profile,
    onnx_profile,
)
from gfkeras.processors import usable_processors
from gfkeras.zoo.preset_files import artefact_path, preset_named

if TYPE_CHECKING:
    import keras

# Number of calls before each series that are not timed. The threads of another embedder's pool spin
# for a while after their work, and these calls wait until they stop.
_UNMEASURED = 2
_IN_A_ROW = 10
_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one image, from uint8 pixels to a normalised embedding, and throughput of batches.

    `threads` is None if the runtime does not choose their number (TensorFlow). The throughput is
    computed from the median time.
    """

    threads: int | None
    latency_ms_median: float
    latency_ms_p95: float
    images_per_second: float


def latencies(
    source: keras.Model | str | os.PathLike[str],
    threads: Sequence[int | None],
    repeats: int,
    batch_size: int,
) -> list[Latency]:
    """Measures all numbers of threads in one process, alternating every ten calls.

    Each number of threads gets `repeats` calls with one image, and a fifth as many (at least 3)
    with a batch. None threads are the runtime's default.
    """
    # The range of the pixels does not change the time.
    embedders = [
        Embedder(source, batch_size=batch_size, num_threads=each, input_range=ANY_RANGE)
        for each in threads
    ]
    size = face_size(embedders[0].image_size)
    # Different images make a hard model choose different groups, whose weights are not yet cached.
    images = np.random.default_rng(0).integers(
        0, 256, (max(_IMAGES, batch_size), *size, 3), np.uint8
    )
    one = _in_turns(embedders, lambda run: images[run % _IMAGES][np.newaxis], repeats)
    many = _in_turns(embedders, lambda run: images[:batch_size], max(3, repeats // 5))
    return [
        Latency(
            threads=each,
            latency_ms_median=1e3 * float(np.median(singles)),
            latency_ms_p95=1e3 * float(np.quantile(singles, 0.95)),
            images_per_second=batch_size / float(np.median(batches)),
        )
        for each, singles, batches in zip(threads, one, many, strict=True)
    ]


def _in_turns(
    embedders: Sequence[Embedder], images: Callable[[int], np.ndarray], repeats: int
) -> list[list[float]]:
    """Returns the seconds of `repeats` calls of each embedder. `images` returns a call's images.

    The embedders take turns, so a change of the machine's load affects all of them.
    """
    seconds: list[list[float]] = [[] for _ in embedders]
    for embedder in embedders:
        for run in range(max(_UNMEASURED, repeats // 10)):
            embedder(images(run))
    while len(seconds[-1]) < repeats:
        for embedder, found in zip(embedders, seconds, strict=True):
            for run in range(-_UNMEASURED, min(_IN_A_ROW, repeats - len(found))):
                given = images(len(found))
                start = time.perf_counter()
                embedder(given)
                if run >= 0:
                    found.append(time.perf_counter() - start)
    return seconds


_LITERT, _ONNX = ".tflite", ".onnx"


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A kind of operator that XNNPACK does not run, such as int8 "PRELU". LiteRT's kernels run it.

    `share` is its share of the time of one run, or None without a profile.
    """

    name: str
    dtype: str
    operators: tuple[LeftOperator, ...]
    share: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measurements of one model.

    Attributes:
        latencies: one entry per number of threads, in the requested order.
        batch_size: number of images in a batch, for `images_per_second`.
        size_bytes: size of the file or folder, or None for a preset without an artefact.
        peak_memory_bytes: peak of resident memory while a new process opens the model and runs one
            image, without the memory of runtime and imports. None on other systems than Linux.
        operators: time per kind of operator for one image on one thread, the slowest kind first.
            None for Keras models and SavedModels, and if the runtime's profiler failed.
        run_microseconds: time of the whole profiled run. It includes the time between operators.
        operators_missing: the reason why `operators` is None, otherwise "".
        not_taken: operators that XNNPACK does not run, by kind, the slowest first. None for other
            files than .tflite.
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
        """Returns plain values. The values of the first latency are also at the top level."""
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
    """Measures latency, throughput, memory and the time of each kind of operator.

    The arguments are those of `gfkeras.tasks.bench.bench`. TensorFlow's threads belong to the
    process and cannot be chosen. Raises ValueError if the model cannot be read, or if its number of
    threads cannot be chosen.
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
            "`threads` goes with a .tflite or an .onnx file. TensorFlow's threads are set for the "
            "whole process with the environment variable TF_NUM_INTRAOP_THREADS. Received: threads="
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
    """Returns the operators' times, or None and the reason why they are missing."""
    try:
        if suffix == _LITERT:
            return litert_profile(path, runs), ""
        if suffix == _ONNX:
            return onnx_profile(path, Embedder(path, input_range=ANY_RANGE).image_size, runs), ""
    except RuntimeError as error:
        return None, f"the runtime's profiler does not work here: {error}"
    return None, "operators are timed only for .tflite and .onnx files"


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
