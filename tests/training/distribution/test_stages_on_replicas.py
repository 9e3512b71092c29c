"""Two stages on two replicas and on two workers equal those on one device, also after a resume."""

from __future__ import annotations

import pytest
from processes import run_python, start_workers

CODE = """
import sys
import numpy as np, keras
from gfkeras.data import Faces
from gfkeras.training import Recipe, train
from gfkeras.training.step_checkpoints import StepCheckpoints
from small_networks import SMALL_BACKBONE

out, strategy = sys.argv[1], sys.argv[2]
rng = np.random.default_rng(0)
labels = np.repeat(np.arange(6), 4)
images = rng.integers(40, 216, (6, 1, 1, 3))[labels] + rng.integers(-30, 31, (24, 112, 112, 3))
faces = Faces(images.astype(np.uint8), labels)
recipe = Recipe.parse({
    "model": {"embedding_dim": 16, "num_groups": 2, "group_dim": 16, "shared_dim": "none",
              "backbone": SMALL_BACKBONE},
    "head": {"name": "NormSoftmax", "scale": 16.0},
    "loss": [{"name": "SelfGroupingLoss"}],
    "optimizer": {"learning_rate": 1e-3},
    "training": {"epochs": 1, "batch_size": 8, "checkpoint_steps": 1},
    "stage": [
        {"name": "softmax", "loss": [], "model": {
            "num_groups": 3, "group_initializer": "zeros", "freeze": ["group_*"]}},
        {"name": "groupface", "optimizer": {"learning_rate": 1e-4, "accumulate_steps": 2}},
    ],
}, {"training.strategy": strategy})

class Stop(keras.callbacks.Callback):
    steps = 0
    def on_train_batch_end(self, batch, logs=None):
        Stop.steps += 1
        # The first of two gradients of an update waits in each replica.
        if Stop.steps == 4:
            raise KeyboardInterrupt

def run(name, resume=False, callbacks=()):
    result = train(recipe, faces, f"{out}/{name}", resume=resume, verbose=0, callbacks=callbacks)
    arrays = StepCheckpoints(result.out / "checkpoints").load()[0].arrays
    total = sum(float(np.abs(value).sum()) for key, value in sorted(arrays.items()))
    print([result.devices, len(result.notes), result.metrics["loss"], total], flush=True)

run("whole")
if strategy == "mirrored":
    try:
        run("cut", callbacks=[Stop()])
    except KeyboardInterrupt:
        run("cut", resume=True)
"""

ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_NUM_INTRAOP_THREADS": "1"}


@pytest.mark.slow
def test_stages_are_the_same_on_replicas_and_workers(tmp_path):
    ((_, notes, loss, total),) = run_python(
        CODE, str(tmp_path / "one"), "none", forked=True, **ENVIRONMENT
    )
    two = run_python(CODE, str(tmp_path / "two"), "mirrored", two_cpus=True, **ENVIRONMENT)
    workers = start_workers(CODE, str(tmp_path / "workers"), "multi-worker", **ENVIRONMENT)
    both = [worker.literals(timeout=300)[-1] for worker in workers]
    assert [found[0] for found in two] == ["2 replicas"] * 2
    assert both[0] == both[1]
    # The resumed run has one note more: the finished stage.
    assert [found[1] for found in (*two, *both)] == [notes, notes + 1, notes, notes]
    for found in (*two, *both):
        assert found[2:] == pytest.approx([loss, total], rel=1e-4)
