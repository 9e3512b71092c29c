"""Comparison of two runtimes: which images count, and which pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from gfkeras.export import verify


@dataclass
class Result:
    embedding: np.ndarray
    group_logits: np.ndarray | None = None


class Fake:
    """An embedder that returns rows of fixed arrays, chosen by the number in each image."""

    def __init__(self, embedding, logits=None, mode=None, precision="fp32"):
        self.embedding, self.logits = np.asarray(embedding), logits
        self.mode, self.precision = mode, precision
        self.modes_seen = []

    def __call__(self, images):
        self.modes_seen.append(self.mode)
        rows = np.asarray(images)[:, 0]
        logits = None if self.logits is None else np.asarray(self.logits)[rows]
        return Result(self.embedding[rows], logits)


def index(count: int) -> np.ndarray:
    return np.arange(count)[:, None]


def rows(count: int = 8, dim: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim))


def test_scale_does_not_count():
    a = rows()
    result = verify(Fake(a), Fake(3 * a), index(8), batch_size=3)
    assert result.images == 8
    assert result.max_abs_error < 1e-12
    assert result.mean_cosine == pytest.approx(1)
    assert result.passed()
    result.require()


def test_one_bad_image_fails():
    a = rows()
    b = a / np.linalg.norm(a, axis=-1, keepdims=True)
    b[5, 0] += 5e-4
    result = verify(Fake(a), Fake(b), index(8))
    assert int(result.cosine.argmin()) == 5
    assert not result.passed()
    assert result.passed("fp16")
    with pytest.raises(ValueError, match="worst image 5"):
        result.require()


def test_nan_fails():
    a = rows()
    b = a.copy()
    b[2] = np.nan
    for precision in ("fp32", "fp16"):
        assert not verify(Fake(a), Fake(b), index(8), precision=precision).passed()


def test_precision_of_the_candidate():
    assert verify(Fake(rows()), Fake(rows(), precision="fp16"), index(8)).precision == "fp16"


def flipped(gap: float, count: int = 8):
    """Returns logits of two runtimes in which the first image's groups 0 and 1 differ by `gap`."""
    logits = np.tile([2.0, 1.0, 0.0], (count, 1))
    a, b = logits.copy(), logits.copy()
    a[0] = [1.0 + gap, 1.0, 0.0]
    b[0] = [1.0, 1.0 + gap, 0.0]
    return a, b


def test_a_near_tie_is_reported_and_left_out():
    a, b = flipped(1e-7)
    other = rows()
    other[0] = rows(seed=1)[0]
    result = verify(Fake(rows(), a, "hard"), Fake(other, b, "hard"), index(8))
    assert result.passed()
    assert result.near_ties == 1
    (flip,) = result.group_disagreements
    assert (flip.image, flip.reference, flip.candidate) == (0, 0, 1)
    assert flip.near_tie
    assert flip.gap == pytest.approx(1e-7, rel=0.1)
    assert result.to_json()["near_ties"] == 1


def test_a_clear_flip_fails():
    a, b = flipped(1e-2)
    other = rows()
    other[0] = rows(seed=1)[0]
    result = verify(Fake(rows(), a, "hard"), Fake(other, b, "hard"), index(8))
    assert result.near_ties == 0
    assert len(result.group_disagreements) == 1
    assert not result.passed()


def test_many_near_ties_fail():
    a = np.tile([1.0 + 1e-8, 1.0, 0.0], (8, 1))
    b = np.tile([1.0, 1.0 + 1e-8, 0.0], (8, 1))
    b[:6] = a[:6]
    result = verify(Fake(rows(), a, "hard"), Fake(rows(), b, "hard"), index(8))
    assert result.near_ties == 2
    assert result.max_abs_error == 0
    assert not result.passed()


def test_soft_flips_count_as_any_image():
    a, b = flipped(1e-7)
    other = rows()
    other[0] = rows(seed=1)[0]
    result = verify(Fake(rows(), a, "soft"), Fake(other, b, "soft"), index(8))
    assert len(result.group_disagreements) == 1
    assert result.near_ties == 0
    assert not result.passed()


def test_the_reference_runs_in_the_candidates_mode():
    reference = Fake(rows(), mode="soft")
    verify(reference, Fake(rows(), mode="hard"), index(8))
    assert reference.modes_seen == ["hard"]
    assert reference.mode == "soft"


def test_wrong_arguments():
    with pytest.raises(ValueError, match="at least one image"):
        verify(Fake(rows()), Fake(rows()), index(0))
    with pytest.raises(ValueError, match="must return embeddings of the same shape"):
        verify(Fake(rows()), Fake(rows(dim=4)), index(8))
    with pytest.raises(ValueError, match="precision"):
        verify(Fake(rows()), Fake(rows()), index(8), precision="int4")


@pytest.mark.parametrize(("flips", "passes"), [(0, True), (2, True), (3, False)])
def test_int8_is_judged_by_its_mean_cosine_and_its_groups(flips, passes):
    """98 % of the images must choose the model's group. A near tie is not an excuse in int8."""
    logits = np.tile([1.0, 0.0], (100, 1))
    other = logits.copy()
    other[:flips] = other[:flips, ::-1]
    embeddings = rows(100)
    noisy = embeddings + 0.02 * np.random.default_rng(1).normal(size=embeddings.shape)
    result = verify(Fake(embeddings, logits), Fake(noisy, other), index(100), precision="int8")
    assert result.max_abs_error > 1e-3
    assert result.group_agreement == 1 - flips / 100
    assert result.passed() == passes
    assert not verify(Fake(embeddings), Fake(-noisy), index(100), precision="int8").passed()
