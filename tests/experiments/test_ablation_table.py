"""Mean, spread and difference of a table, compared with hand-computed numbers."""

from __future__ import annotations

import csv
import io
import json

import pytest

from gfkeras.experiments.ablation import AblationResult, RowResult, Scoring, Statistic
from gfkeras.experiments.ablation.result import csv_text, markdown
from gfkeras.experiments.ablation.row import Row
from gfkeras.training import Recipe


def row(number, name, accuracies, section="", macs=1_000_000, groups=None, pairs=1000, **more):
    recipe = Recipe.parse({})
    scores = {
        seed: {
            "accuracy": accuracy, "auc": 0.9, "eer": 0.1, "groups_used": groups,
            "pairs": pairs, "impostor": pairs // 2, **more,
            "tar_at_far": {"1e-1": 0.9, "1e-2": accuracy / 2, "1e-3": None},
            "macs": macs, "parameters": 2_345_678,
        }
        for seed, accuracy in accuracies.items()
    }  # fmt: skip
    return RowResult(Row(number, name, section, recipe, Scoring()), f"t{number}", scores)


@pytest.fixture
def result():
    rows = [
        row(1, "plain", {0: 0.70, 1: 0.72, 2: 0.77}),
        row(2, "ours | theirs", {0: 0.71, 1: 0.75, 2: 0.79}, "Groups", 12_345_678, 3.26),
        row(3, "later", {1: 0.80}, "Groups"),
        row(4, "never", {}, "Groups"),
    ]
    return AblationResult("Tiny", "plain", rows, [("never", 0, "diverged")])


def test_statistics_by_hand():
    # The mean is 0.73. Squared deviations of 9, 1 and 16 times 1e-4 over n − 1 = 2 give 13e-4.
    found = Statistic.of([0.70, 0.72, 0.77])
    assert found.mean == pytest.approx(0.73)
    assert found.spread == pytest.approx(0.0013**0.5)
    assert found.standard_error == pytest.approx((0.0013 / 3) ** 0.5)
    assert Statistic.of([0.5]) == Statistic(0.5, None, 1)


def test_differences_are_seed_by_seed(result):
    # The differences are 1, 3 and 2 points: mean 2, spread 1.
    found = result.difference(result.rows[1])
    assert found.mean == pytest.approx(0.02)
    assert found.spread == pytest.approx(0.01)
    # Both rows have only seed 1: 0.80 − 0.72.
    assert result.difference(result.rows[2]).mean == pytest.approx(0.08)
    assert result.difference(result.rows[0]) is None
    assert result.difference(result.rows[3]) is None


def test_markdown(result):
    lines = markdown(result).splitlines()
    assert lines[0] == "# Tiny"
    assert lines[2] == (
        "|  | accuracy % | to plain | TAR@FAR=1e-2 % | AUC % | groups used | GFLOPs | "
        "M parameters | seeds |"
    )
    assert lines[4] == (
        "| plain | 73.00 ± 3.61 | – | 36.50 ± 1.80 | 90.00 ± 0.00 | – | 0.002 | 2.35 | 3 |"
    )
    assert lines[6] == "**Groups**"
    assert lines[10] == (
        "| ours \\| theirs | 75.00 ± 4.00 | +2.00 ± 0.58 | 37.50 ± 2.00 | 90.00 ± 0.00 | 3.3 ± 0.0 "
        "| 0.0247 | 2.35 | 3 |"
    )
    assert lines[11] == "| later | 80.00 | +8.00 | 40.00 | 90.00 | – | 0.002 | 2.35 | 1 |"
    assert lines[12] == "| never | – | – | – | – | – | – | – | 0 |"
    assert lines[-1] == "never, seed 0, failed: diverged"


def test_a_small_difference_is_none_and_hard_measures_have_their_own():
    rows = [
        row(1, "plain", {0: 0.70, 1: 0.72, 2: 0.77}, pairs=2000, cfp_fp=0.5),
        row(2, "as good", {0: 0.71, 1: 0.71, 2: 0.78}, pairs=2000, cfp_fp=0.6),
    ]
    result = AblationResult("Tiny", "plain", rows, [])
    # 1,000 impostor pairs give ten false accepts at FAR 1e-2.
    assert result.low_far == "1e-2"
    heading, _, plain, ours = markdown(result).splitlines()[2:6]
    names = [cell.strip() for cell in heading.split("|")]
    assert [cell.strip() for cell in ours.split("|")][names.index("CFP-FP %")] == "60.00 ± 0.00"
    assert names.count("to plain") == 3
    # Differences of 1, −1 and 1 points have the mean 0.33 and the standard error 0.67.
    assert "| none (+0.33 ± 0.67) |" in ours
    assert "| none (+0.17 ± 0.33) |" in ours
    assert "| +10.00 ± 0.00 |" in ours
    assert "none" not in plain
    found = result.to_json()["rows"][1]["differences"]
    assert found["cfp_fp"]["mean"] == pytest.approx(0.1)
    # Scores of older versions have no number of impostor pairs.
    del rows[0].scores[0]["impostor"]
    assert result.low_far == "1e-2"


def test_csv_and_json(result):
    plain, ours, later, never = csv.DictReader(io.StringIO(csv_text(result)))
    assert float(plain["accuracy"]) == pytest.approx(0.73)
    assert float(plain["accuracy_std"]) == pytest.approx(0.0013**0.5)
    assert plain["accuracy_difference"] == ""
    assert (ours["macs"], ours["flops"]) == ("12345678", "24691356")
    assert float(ours["accuracy_difference_standard_error"]) == pytest.approx(0.01 / 3**0.5)
    assert (later["accuracy_std"], later["seeds"]) == ("", "1")
    assert (never["accuracy"], never["flops"]) == ("", "")
    tables = json.loads(json.dumps(result.to_json()))
    assert tables["rows"][1]["summary"]["accuracy"] == {
        "mean": pytest.approx(0.75), "spread": pytest.approx(0.04), "seeds": 3,
    }  # fmt: skip
    assert tables["rows"][3]["summary"]["accuracy"] is None
    assert tables["failures"] == [["never", 0, "diverged"]]
