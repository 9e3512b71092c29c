"""Every head and loss learns from real faces (examples/heads_and_losses_on_faces.py)."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from gfkeras import heads, losses
from gfkeras.data import FaceFolder

EXAMPLE = Path(__file__).parents[2] / "examples" / "heads_and_losses_on_faces.py"
PEOPLE_TRAINED = 30


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module")
def orl(shared_data):
    return FaceFolder(shared_data / "orl_faces").load(resize=True).split(10)


@pytest.fixture(scope="module")
def teacher(example, orl):
    arcface = example["parts"](PEOPLE_TRAINED)["ArcFace"](None)
    return example["train"](orl[0], arcface, seed=100)


@pytest.fixture(scope="module")
def untrained(example, orl):
    auc, _ = example["verify"](example["train"](orl[0], {}, seed=0, epochs=0), orl[1])
    return auc


ROWS = sorted(runpy.run_path(str(EXAMPLE))["parts"](PEOPLE_TRAINED))


def test_all_are_there():
    assert set(ROWS) >= QUICK
    named = {word for row in ROWS for word in row.replace(",", "").split()}
    # The self-grouping loss does not train the embedding.
    assert set(heads.HEADS) | set(losses.LOSSES) - {"SelfGroupingLoss"} <= named


# One head and one loss. `test_heads_and_losses.py` and `models/test_extra_losses.py` train with all
# of them.
QUICK = {"ArcFace", "TripletLoss, semi-hard"}


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[] if row in QUICK else pytest.mark.slow) for row in ROWS],
)
def test_training_improves_unseen_people(row, example, orl, untrained, request):
    train, heldout = orl
    teacher = request.getfixturevalue("teacher") if row.endswith("of ArcFace's") else None
    arguments = example["parts"](PEOPLE_TRAINED)[row](teacher)
    auc, _ = example["verify"](example["train"](train, arguments, seed=0, epochs=8), heldout)
    assert auc > untrained + 0.01
