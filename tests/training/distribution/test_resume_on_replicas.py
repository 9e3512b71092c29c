"""Resuming within an epoch on two replicas, and with another number of replicas."""

from __future__ import annotations

import pytest
from processes import run_python

CODE = """
import sys
from pathlib import Path
import numpy as np, keras
from gfkeras.data import Faces
from gfkeras.training import Recipe, train
from small_networks import SMALL_BACKBONE
from gfkeras.training.step_checkpoints import StepCheckpoints

root = sys.argv[1]
rng = np.random.default_rng(0)
labels = np.repeat(np.arange(6), 4)
colours = rng.integers(40, 216, (6, 1, 1, 3))[labels]
faces = Faces((colours + rng.integers(-30, 31, (24, 112, 112, 3))).astype(np.uint8), labels)
recipe = Recipe.parse({
    "model": {"embedding_dim": 16, "num_groups": 2, "group_dim": 16, "shared_dim": "none",
              "dropout": 0.2, "backbone": SMALL_BACKBONE},
    "loss": [{"name": "SelfGroupingLoss", "expectation": "ema"}],
    "optimizer": {"learning_rate": 1e-4},
    "training": {"epochs": 2, "batch_size": 6, "strategy": "mirrored", "checkpoint_steps": 1},
})
alone = Recipe.parse(recipe.model_dump(exclude_none=True), [
    "training.strategy=none", "model.dropout=0.0"])
shared = Recipe.parse(recipe.model_dump(exclude_none=True), ["model.dropout=0.0"])

class Losses(keras.callbacks.Callback):
    def __init__(self, stop=None):
        super().__init__()
        self.stop, self.losses = stop, []
    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(np.asarray(logs["loss"])))
        if len(self.losses) == self.stop:
            raise KeyboardInterrupt

def run(recipe, name, resume=False, stop=None):
    watch = Losses(stop)
    try:
        result = train(recipe, faces, f"{root}/{name}", resume=resume, verbose=0, callbacks=[watch])
        assert result.epochs == 2
    except KeyboardInterrupt:
        pass
    return watch.losses

def arrays(name):
    return StepCheckpoints(Path(root) / name / "checkpoints").load()[0].arrays

run(recipe, "whole")
run(recipe, "parts", stop=2)
run(recipe, "parts", resume=True)
whole, parts = arrays("whole"), arrays("parts")
differences = [np.abs(whole[key].astype("float64") - parts[key]).max() for key in whole]
print(["on two", float(max(differences))])

# Without dropout, whose draws differ from replica to replica: the next step is the same one.
both = run(shared, "shared")
run(shared, "fewer", stop=2)
fewer = run(alone, "fewer", resume=True)
print(["fewer", both[2], fewer[0], len(fewer)])
run(alone, "more", stop=2)
more = run(shared, "more", resume=True)
single = run(alone, "single")
print(["more", single[2], more[0], len(more)])
"""


@pytest.mark.slow
def test_a_run_resumes_within_an_epoch_on_any_number_of_replicas(tmp_path):
    two, fewer, more = run_python(
        CODE, str(tmp_path), two_cpus=True, KERAS_BACKEND="tensorflow", TF_NUM_INTRAOP_THREADS="1"
    )
    assert two[1] <= 1e-6
    for _, expected, found, steps in (fewer, more):
        assert steps == 6
        assert abs(found / expected - 1) < 1e-5
