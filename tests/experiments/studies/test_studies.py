"""Studies over a list of pairs, and two models across their versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_faces import FakeFaces

from gfkeras.evaluation import PairList, all_pairs, evaluate_pairs, kfold_accuracy
from gfkeras.experiments.studies import (
    Study,
    evaluate_cross_version,
    study_embeddings,
    study_figure,
    study_images,
)

PEOPLE = np.repeat(np.arange(12), 5)
NAMES = [Path(f"{person}/{i}.jpg") for i, person in enumerate(PEOPLE)]


@pytest.fixture(scope="module")
def pairs() -> PairList:
    return all_pairs(NAMES, PEOPLE, seed=0)


@pytest.fixture(scope="module")
def faces() -> FakeFaces:
    return FakeFaces(NAMES, person=PEOPLE, width=16, noise=1.2, broken=[NAMES[3]])


def same_figures(found, expected) -> None:
    """Compares everything that two results report."""
    assert found.to_json() == expected.to_json()


class Changed:
    """An embedder for each change. Noise replaces the change and grows as the side shrinks."""

    def __init__(self, faces):
        self.faces, self.seen = faces, []

    def __call__(self, change):
        image = np.arange(112 * 112 * 3, dtype=np.uint32).reshape(112, 112, 3) % 251
        lost = 0.0
        if change is not None:
            changed = change(image.astype(np.uint8))
            lost = float(np.abs(changed.astype(int) - image).mean() > 0)
        self.seen.append(lost)

        def embed(paths):
            found = self.faces(paths)
            noise = np.random.default_rng(1).standard_normal(found.embedding.shape)
            found.embedding = (found.embedding + 5 * lost * noise).astype(np.float32)
            return found

        return embed


def test_images_unchanged_are_the_plain_protocol(faces, pairs):
    expected = evaluate_pairs(faces, pairs, replicates=20)
    changed = Changed(faces)
    found = study_images("size", changed, pairs, [112, 20], replicates=20)
    same_figures(found.reference, expected)
    assert expected.skipped == 59
    small, whole = found.points
    assert (small.value, whole.value) == (20, 112)
    same_figures(whole.result, expected)
    # The embedder got the changed images.
    assert changed.seen == [0, 1, 0]
    assert small.result.auc < expected.auc - 0.05


def test_all_dimensions_are_the_plain_protocol(faces, pairs):
    expected = evaluate_pairs(faces, pairs)
    others = np.random.default_rng(5).standard_normal((40, 16))
    found = study_embeddings("dimension", faces, pairs, [4, 16], fitted_on=others)
    series = found.series()
    assert list(series) == ["first", "principal"]
    for points in series.values():
        assert [point.value for point in points] == [4, 16]
        np.testing.assert_allclose(points[-1].result.scores, expected.scores, atol=1e-6)
        assert points[0].result.auc < expected.auc
    by_hand = faces.embedding
    kept = expected.kept
    for row in (0, 100, 1000):
        a, b = (by_hand[path][:4] for path in (kept.first[row], kept.second[row]))
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert series["first"][0].result.scores[row] == pytest.approx(cosine, abs=1e-6)
    usual = study_embeddings("dimension", faces, pairs, fitted_on=others)
    assert [point.value for point in usual.points] == [16, 16]


def test_a_byte_a_number_is_enough(faces, pairs):
    found = study_embeddings("bits", faces, pairs, [8, 1])
    one, eight = found.points
    assert (one.value, eight.value) == (1, 8)
    np.testing.assert_allclose(eight.result.scores, found.reference.scores, atol=0.01)
    assert np.abs(one.result.scores - found.reference.scores).max() > 0.1


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda f, p: study_images("bits", f, p), "`name` must be one of 'jpeg', 'size'"),
        (lambda f, p: study_embeddings("bit", f, p), "did you mean 'bits'"),
        (lambda f, p: study_embeddings("dimension", f, p, [17]), "embedding's 16 numbers.*17"),
        (lambda f, p: study_embeddings("dimension", f, p), "`fitted_on` must hold"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(run, message, faces, pairs):
    with pytest.raises(ValueError, match=message):
        run(faces, pairs)


def test_the_table_and_the_plot(faces, pairs):
    pytest.importorskip("matplotlib")
    others = np.random.default_rng(5).standard_normal((40, 16))
    found = study_embeddings("dimension", faces, pairs, [4, 8, 16], fitted_on=others, replicates=20)
    written = found.to_json()
    assert [(p["series"], p["value"]) for p in written["points"]][:3] == [
        ("first", 4), ("first", 8), ("first", 16),
    ]  # fmt: skip
    assert written["points"][0]["accuracy"] == found.points[0].result.accuracy
    # 1,551 impostor pairs can measure FaceNet's FAR.
    assert found.far == "1e-3"
    left, right = study_figure(found).axes
    for axes, pick in ((left, "accuracy"), (right, "tar")):
        line = axes.lines[0]
        assert line.get_xdata().tolist() == [4, 8, 16]
        expected = [
            point.result.accuracy if pick == "accuracy" else point.result.tar_at_far["1e-3"]
            for point in found.series()["first"]
        ]
        np.testing.assert_allclose(line.get_ydata(), expected)
        assert len(axes.collections) == 2
    assert "1e-3" in right.get_ylabel()
    with pytest.raises(ValueError, match="at least one point"):
        study_figure(Study("bits", found.reference, []))


def rotated(faces: FakeFaces, seed: int) -> FakeFaces:
    """The same network with rotated embeddings: equally good, but not comparable."""
    found = FakeFaces(NAMES, person=PEOPLE, width=16, noise=1.2)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((16, 16)))[0]
    found.embedding = {name: row @ turn for name, row in faces.embedding.items()}
    return found


def test_across_versions_against_an_oracle(faces, pairs):
    new = FakeFaces(NAMES, seed=0, person=PEOPLE, width=16, noise=0.8, broken=[NAMES[9]])
    found = evaluate_cross_version(new, faces, pairs, replicates=20)
    assert list(found.results) == ["old/old", "new/new", "new/old", "old/new"]
    kept = [
        (a, b, same, fold)
        for a, b, same, fold in zip(pairs.first, pairs.second, pairs.same, pairs.fold, strict=True)
        if not {a, b} & {NAMES[3], NAMES[9]}
    ]
    same, fold = (np.array(column) for column in list(zip(*kept, strict=True))[2:])
    for name, (probe, gallery) in {
        "new/new": (new, new), "new/old": (new, faces), "old/new": (faces, new),
    }.items():  # fmt: skip
        scores = np.array(
            [np.dot(probe.embedding[a], gallery.embedding[b]) for a, b, *_ in kept], np.float64
        )
        result = found.results[name]
        np.testing.assert_allclose(result.scores, scores, atol=1e-6)
        assert result.accuracy == pytest.approx(kfold_accuracy(scores, same, fold).mean, abs=2e-3)
        assert result.skipped == len(pairs) - len(kept)
        assert {path for path, _ in result.skipped_files} == {NAMES[3], NAMES[9]}
        assert result.intervals["accuracy"][0] <= result.accuracy
    mean = (found.results["new/old"].accuracy + found.results["old/new"].accuracy) / 2
    assert found.cross_accuracy == pytest.approx(mean)
    tars = [found.results[name].tar_at_far["1e-2"] for name in ("new/old", "old/new")]
    assert found.cross_tar(1e-2) == pytest.approx(np.mean(tars))
    assert found.cross_tar(1e-6) is None


def test_independent_networks_are_not_comparable(faces, pairs):
    across = []
    for seed in range(4):
        found = evaluate_cross_version(rotated(faces, seed), faces, pairs)
        alone = [found.results[name].auc for name in ("new/new", "old/old")]
        assert alone[0] == pytest.approx(alone[1], abs=0.02)
        assert min(alone) > 0.8
        across += [found.results[name].auc for name in ("new/old", "old/new")]
    assert abs(np.mean(across) - 0.5) < 0.1
    assert max(across) < 0.75
    itself = evaluate_cross_version(faces, faces, pairs)
    same_figures(itself.results["new/old"], itself.results["old/old"])


def test_other_lengths_and_nothing_in_common_are_refused(faces, pairs):
    with pytest.raises(ValueError, match="have one length: expected 16 numbers"):
        evaluate_cross_version(FakeFaces(NAMES, person=PEOPLE), faces, pairs)
    halves = [FakeFaces(NAMES, person=PEOPLE, broken=names) for names in (NAMES[:30], NAMES[30:])]
    with pytest.raises(ValueError, match="could be read by both"):
        evaluate_cross_version(*halves, pairs)
