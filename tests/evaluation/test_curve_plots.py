"""Curve plots show the measured values."""

import numpy as np
import pytest
from scipy.stats import norm

from gfkeras.evaluation import evaluate_pair_scores, plots, roc
from gfkeras.evaluation.identification import SearchScores, identification_errors


def curve_of(count=600, seed=0):
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 2 == 0
    return roc(rng.normal(size=count) + 2 * same, same)


def test_det_has_both_errors_on_probit_axes():
    curve = curve_of()
    (axes,) = plots.det_figure({"one": curve}).axes
    line, dot = axes.get_lines()
    far, frr = norm.cdf(line.get_xdata()), norm.cdf(line.get_ydata())
    assert len(far) > 50
    for x, y in zip(far, frr, strict=True):
        nearest = np.flatnonzero(np.isclose(curve.far, x, atol=1e-9))
        assert np.isclose(1 - curve.tar[nearest], y, atol=1e-9).any()
    np.testing.assert_allclose(norm.cdf(dot.get_xdata()), curve.eer)
    # Nothing below one pair in 300 is drawn, and both axes reach past one half.
    low, high = norm.cdf(axes.get_xlim())
    assert low == pytest.approx(1 / 300 / 1.5)
    assert high > 0.5
    assert all(text.get_text().endswith("%") for text in axes.get_xticklabels())


def test_det_of_many_pairs_is_drawn_with_few_points():
    (axes,) = plots.det_figure({"many": curve_of(200_000)}).axes
    x, y = axes.get_lines()[0].get_xydata().T
    assert 1000 < len(x) <= 2000
    # Both ends of the curve are drawn, and there is no visible gap.
    assert norm.cdf(x[0]) < 3e-5
    assert norm.cdf(y[-1]) < 3e-5
    assert np.hypot(np.diff(x), np.diff(y)).max() < 0.5


def test_a_perfect_network_has_an_empty_det():
    perfect = roc([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0])
    (axes,) = plots.det_figure({"perfect": perfect}).axes
    assert len(axes.get_lines()[0].get_xdata()) == 0


def test_cmc_and_distractors_show_the_rates():
    cmc = np.linspace(0.9, 1, 100)
    (axes,) = plots.cmc_figure({"gallery": cmc}, ranks=20).axes
    (line,) = axes.get_lines()
    assert line.get_xdata().tolist() == list(range(1, 21))
    np.testing.assert_array_equal(line.get_ydata(), cmc[:20])
    assert axes.get_ylim()[0] < 0.9
    assert "rank-1 90.00%" in axes.get_legend().get_texts()[0].get_text()
    (axes,) = plots.distractor_figure({"a": {1000: 0.7, 10: 0.9}}).axes
    assert axes.get_lines()[0].get_xydata().tolist() == [[10, 0.9], [1000, 0.7]]
    assert axes.get_xscale() == "log"


def test_open_set_errors_are_drawn_where_both_are_above_zero():
    rng = np.random.default_rng(0)
    ones = np.ones(200, np.int64)
    scores = SearchScores(rng.normal(2, 1, 200), ones, rng.normal(0, 1, 100), ones, ones[:100])
    fpir, fnir, _ = identification_errors(scores)
    (axes,) = plots.identification_error_figure({"one": (fpir, fnir)}).axes
    drawn = axes.get_lines()[0].get_xydata()
    kept = (fpir > 0) & (fnir > 0)
    np.testing.assert_array_equal(drawn, np.stack([fpir[kept], fnir[kept]], axis=1))


def test_the_table_says_what_to_use_and_what_cannot_be_measured():
    curve = curve_of()
    texts = [
        text.get_text() for text in plots.threshold_table(curve, (0.1, 0.01, 1e-6)).axes[0].texts
    ]
    threshold = curve.thresholds[np.searchsorted(curve.far, 0.01, side="right") - 1]
    assert f"{threshold:.3f}" in texts
    assert "1 in 1,000,000" in texts
    assert "needs 1,000,000 impostor pairs, not 300" in texts
    assert any(
        text.startswith(f"For one false accept in 100 use {threshold:.3f}") for text in texts
    )


def test_histograms_of_a_result_and_of_its_curve_are_the_same():
    rng = np.random.default_rng(0)
    same = np.arange(400) % 2 == 0
    result = evaluate_pair_scores(np.round(rng.normal(size=400) + same, 1), same)
    shares = []
    for shown in (result, result.curve):
        (axes,) = plots.score_histogram(shown, 0.5).axes
        shares.append([patch.get_data().values for patch in axes.patches])
    np.testing.assert_allclose(shares[0], shares[1])
    for values in shares[0]:
        assert values.sum() == pytest.approx(1)


def test_nothing_to_draw_is_refused_and_figures_are_written(tmp_path):
    for figure in (plots.det_figure, plots.cmc_figure, plots.distractor_figure,
                   plots.identification_error_figure):  # fmt: skip
        with pytest.raises(ValueError, match="at least one"):
            figure({})
    for figure, curve in ((plots.cmc_figure, []), (plots.distractor_figure, {})):
        with pytest.raises(ValueError, match=r"must have points\. Received: no points for 'two'"):
            figure({"one": {1: 0.5} if curve == {} else [0.5], "two": curve})
    figure = plots.det_figure({"a": curve_of()})
    written = plots.write_figures(tmp_path, {"det": figure}, title="a model on pairs.txt")
    assert figure.get_suptitle() == "a model on pairs.txt"
    assert written == [tmp_path / "det.png"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
