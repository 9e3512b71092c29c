"""Thresholds: read from a curve, saved to a file, looked up by FAR."""

import json
import os

import numpy as np
import pytest

from gfkeras.evaluation import COSINE, GROUP_AWARE, roc
from gfkeras.evaluation.thresholds import (
    Thresholds,
    beside,
    check_far,
    check_threshold,
    one_in,
    threshold_rows,
)

CURVE = roc(np.linspace(0, 1, 200), np.arange(200) >= 100)


def test_from_a_curve_to_a_file_and_back(tmp_path):
    # At 1e-2, one false accept is expected among 100 impostor pairs.
    assert list(Thresholds.from_curve(CURVE, GROUP_AWARE, "some pairs").at_far) == ["1e-1"]
    made = Thresholds.from_curve(CURVE, GROUP_AWARE, "some pairs", "abc", force=True)
    assert list(made.at_far) == ["1e-1", "1e-2"]
    path = made.save(tmp_path / "t.json")
    assert Thresholds.load(path) == made
    impostors = np.linspace(0, 1, 200)[:100]
    for far in (0.1, 0.01):
        assert (impostors >= made.at(far, force=True)).mean() <= far
        assert (impostors >= made.at(far, force=True) - 0.01).mean() > far
    with pytest.raises(ValueError, match=r"`far`.*100 impostor pairs.*1 are expected.*`force`"):
        made.at(1e-2)
    assert (made.usual_far(), made.usual_far(force=True)) == (0.1, 0.01)
    low, high = made.interval(0.1)
    assert (low, high) == (pytest.approx(0.0552, abs=1e-4), pytest.approx(0.1744, abs=1e-4))
    with pytest.raises(ValueError, match=r"1e-1, 1e-2 \(some pairs\).*Received: far=1e-3"):
        made.at(1e-3)
    with pytest.raises(ValueError, match=r"10 / 100 impostor pairs.*`force`"):
        Thresholds.from_curve(CURVE, COSINE, "", fars=(1e-2,))
    with pytest.raises(ValueError, match="1 / 100 impostor pairs"):
        Thresholds.from_curve(CURVE, COSINE, "", fars=(1e-4,), force=True)
    with pytest.raises(ValueError, match="10 / 9 impostor pairs"):
        Thresholds.from_curve(roc(np.linspace(0, 1, 10), np.arange(10) > 8), COSINE, "")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("similarity"), lambda d: d.update(version=2),
        lambda d: d.update(at_far={"0.001": 0.5}), lambda d: d.update(at_far={"x": 0.5}),
        lambda d: d.update(similarity={"beta": -1}), lambda d: d.update(at_far=[1]),
        lambda d: d.update(at_far={"1e-1": np.nan}), lambda d: d.update(at_far={"1e-1": np.inf}),
        lambda d: d.update(at_far={"1e-1": -1.1}), lambda d: d.update(at_far={"1e-1": 1.1}),
        lambda d: d.update(at_far={"1e-1": "0.5"}), lambda d: d.update(at_far={"1e-1": True}),
        lambda d: d.update(at_far={"nan": 0.5}), lambda d: d.update(at_far={"2e0": 0.5}),
        lambda d: d.update(at_far={}), lambda d: d.update(impostor=0),
        lambda d: d.update(impostor="1000"), lambda d: d.update(impostor=True),
        lambda d: d.update(impostor=10**400),
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices of POSIX")
def test_a_key_given_twice_is_refused(tmp_path):
    """JSON readers take the last one in silence."""
    Thresholds.from_curve(CURVE, COSINE, "").save(tmp_path / "t.json")
    text = (tmp_path / "t.json").read_text()
    (tmp_path / "t.json").write_text(text.replace("{", '{"similarity": "cosine",', 1))
    with pytest.raises(ValueError, match=r"must be thresholds.*'similarity' occurs twice"):
        Thresholds.load(tmp_path / "t.json")


def test_no_pipe_is_waited_for_and_no_device_read_without_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match=r"must be thresholds.*not a regular file"):
            Thresholds.load(path)
    (tmp_path / "large").write_bytes(bytes(2**24 + 1))
    with pytest.raises(ValueError, match=r"must be thresholds.*16,777,216 bytes"):
        Thresholds.load(tmp_path / "large")


def test_a_threshold_must_be_reachable_by_its_similarity():
    for value in (-1, 0, 1, 0.5, np.float32(0.5)):
        assert check_threshold(value) == value
    for value in (np.nan, np.inf, -np.inf, 1.001, -1.001, True, "0.5", None, 10**400):
        with pytest.raises(ValueError, match=r"`threshold` must be a finite number from -1 to 1"):
            check_threshold(value)
    # cos − β·D^γ for opposite embeddings and opposite group features.
    assert check_threshold(-1.1, GROUP_AWARE) == -1.1
    with pytest.raises(ValueError, match=r"from -1\.126 to 1"):
        check_threshold(-1.2, GROUP_AWARE)
    for far in (0, -1e-3, 1.5, np.nan, np.inf, None, "1e-3"):
        with pytest.raises(ValueError, match="`far` must be a rate above 0"):
            check_far(far)


def test_rows_say_what_cannot_be_resolved():
    assert one_in(1e-6) == "1 in 1,000,000"
    rows = threshold_rows(CURVE, (0.1, 1e-6))
    assert rows[0][0] == "1 in 10"
    assert rows[0][2] == 1.0
    assert rows[1] == ("1 in 1,000,000", None, None)


def test_default_paths(tmp_path):
    (tmp_path / "config.json").touch()
    assert beside(tmp_path) == tmp_path / "thresholds.json"
    assert beside(tmp_path / "face.tflite").name == "face.tflite.thresholds.json"
