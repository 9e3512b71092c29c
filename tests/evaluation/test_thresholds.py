"""Thresholds: read from a curve, kept in a file, found again by FAR."""

import json

import numpy as np
import pytest

from gfkeras.evaluation import COSINE, GROUP_AWARE, roc
from gfkeras.evaluation.thresholds import Thresholds, beside, one_in, threshold_rows

CURVE = roc(np.linspace(0, 1, 200), np.arange(200) >= 100)


def test_from_a_curve_to_a_file_and_back(tmp_path):
    made = Thresholds.from_curve(CURVE, GROUP_AWARE, "some pairs", "abc")
    assert list(made.at_far) == ["1e-1", "1e-2"]
    path = made.save(tmp_path / "t.json")
    assert Thresholds.load(path) == made
    impostors = np.linspace(0, 1, 200)[:100]
    for far in (0.1, 0.01):
        assert (impostors >= made.at(far)).mean() <= far
        assert (impostors >= made.at(far) - 0.01).mean() > far
    with pytest.raises(ValueError, match=r"1e-1, 1e-2 \(some pairs\).*Received: far=1e-3"):
        made.at(1e-3)
    with pytest.raises(ValueError, match="1 / impostors"):
        Thresholds.from_curve(CURVE, COSINE, "", fars=(1e-4,))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("similarity"), lambda d: d.update(version=2),
        lambda d: d.update(at_far={"0.001": 0.5}), lambda d: d.update(at_far={"x": 0.5}),
        lambda d: d.update(similarity={"beta": -1}), lambda d: d.update(at_far=[1]),
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path, change):
    path = Thresholds.from_curve(CURVE, COSINE, "x").save(tmp_path / "t.json")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"t\.json must be thresholds"):
        Thresholds.load(path)
    with pytest.raises(ValueError, match=r"none\.json must be thresholds"):
        Thresholds.load(tmp_path / "none.json")


def test_rows_say_what_cannot_be_resolved():
    assert one_in(1e-6) == "1 in 1,000,000"
    rows = threshold_rows(CURVE, (0.1, 1e-6))
    assert rows[0][0] == "1 in 10"
    assert rows[0][2] == 1.0
    assert rows[1] == ("1 in 1,000,000", None, None)


def test_where_they_lie(tmp_path):
    (tmp_path / "config.json").touch()
    assert beside(tmp_path) == tmp_path / "thresholds.json"
    assert beside(tmp_path / "face.tflite").name == "face.tflite.thresholds.json"
