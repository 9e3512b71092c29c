"""Does an artefact give the model's embeddings?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gfkeras.errors import one_of, positive_int
from gfkeras.export.group_flip import GroupFlip
from gfkeras.export.parity_result import ParityResult
from gfkeras.export.tolerance import TOLERANCES


def verify(
    reference: Callable[[Any], Any],
    candidate: Callable[[Any], Any],
    images: np.ndarray,
    precision: str | None = None,
    batch_size: int = 64,
) -> ParityResult:
    """Embeds the same images with both and compares them one by one.

    A hard ensemble jumps where two groups are equally likely, and there the order of
    additions in a runtime decides. Such an image is no error of the artefact, and
    neither can it be compared. It is left out of the figures if (and only if) the
    candidate is hard, the groups differ, and the reference's own logits of the two
    groups are within numerical noise; it stands in `group_disagreements`, is counted
    in `near_ties`, and over 1 % of such images fail. Any other disagreement of groups
    counts in full, which fails.

    Args:
        reference: an `Embedder` of the Keras model, or any callable from images to an
            object with `embedding`, and `group_logits` if there are groups. If it can be
            set to another `mode` it runs in the candidate's, and is then set back.
        candidate: an `Embedder` of the artefact.
        images: (N, 112, 112, 3) uint8 or float32, N ≥ 1.
        precision: a key of `TOLERANCES`; the candidate's `precision` by default, else fp32.
        batch_size: images given to both at once.

    Returns:
        The comparison; `passed()` applies the tolerance, `require()` raises.

    Raises:
        ValueError: without images, or if the two do not embed into the same width.
    """
    precision = precision or getattr(candidate, "precision", None) or "fp32"
    one_of("precision", precision, tuple(TOLERANCES))
    positive_int("batch_size", batch_size)
    if not len(images):
        raise ValueError("`images` must hold at least one image. Received: none")
    hard = getattr(candidate, "mode", None) == "hard"
    cosine, max_abs, counted = [], [], []
    flips: list[GroupFlip] = []
    with _in_mode(reference, getattr(candidate, "mode", None)):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            expected, found = reference(batch), candidate(batch)
            a, b = _unit(expected.embedding), _unit(found.embedding)
            if a.shape != b.shape:
                raise ValueError(
                    "`candidate` must embed as `reference` does. "
                    f"Received: embeddings of shapes {b.shape} and {a.shape}"
                )
            cosine.append((a * b).sum(axis=-1))
            max_abs.append(np.abs(a - b).max(axis=-1))
            new = _flips(expected, found, start, TOLERANCES[precision].near_tie)
            ties = {flip.image for flip in new if hard and flip.near_tie}
            counted.append(np.array([start + i not in ties for i in range(len(a))]))
            flips += new
    return ParityResult(
        precision=precision,
        cosine=np.concatenate(cosine),
        max_abs=np.concatenate(max_abs),
        counted=np.concatenate(counted),
        group_disagreements=flips,
    )


def _unit(embedding: Any) -> np.ndarray:
    rows = np.asarray(embedding, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def _flips(expected: Any, found: Any, start: int, noise: float) -> list[GroupFlip]:
    a, b = getattr(expected, "group_logits", None), getattr(found, "group_logits", None)
    if a is None or b is None:
        return []
    a = np.asarray(a, np.float64)
    chosen_a, chosen_b = a.argmax(axis=-1), np.asarray(b).argmax(axis=-1)
    flips = []
    for i in np.flatnonzero(chosen_a != chosen_b):
        gap = float(a[i, chosen_a[i]] - a[i, chosen_b[i]]) / max(float(np.ptp(a[i])), 1e-12)
        flips.append(
            GroupFlip(start + int(i), int(chosen_a[i]), int(chosen_b[i]), gap, gap <= noise)
        )
    return flips


@contextlib.contextmanager
def _in_mode(reference: Any, mode: str | None) -> Iterator[None]:
    """The reference in the candidate's mode, for the length of the comparison."""
    before = getattr(reference, "mode", None)
    if mode is None or before is None or mode == before:
        yield
        return
    reference.mode = mode
    try:
        yield
    finally:
        reference.mode = before
