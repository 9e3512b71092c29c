"""A killed worker: the other one reports it and ends, and both restart from the checkpoint."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from processes import start_workers

from gfkeras.training.step_checkpoints import StepCheckpoints

CODE = """
import os, signal, sys
import numpy as np, keras
from gfkeras.data import Faces
from gfkeras.training import Recipe, train
from small_networks import SMALL_BACKBONE

out, resume, die_at = sys.argv[1], sys.argv[2] == "resume", int(sys.argv[3])
rng = np.random.default_rng(0)
labels = np.repeat(np.arange(6), 4)
images = rng.integers(40, 216, (6, 1, 1, 3))[labels] + rng.integers(-30, 31, (24, 112, 112, 3))
recipe = Recipe.parse({
    "data": {"holdout_identities": 2},
    "model": {"embedding_dim": 16, "num_groups": 2, "group_dim": 16, "shared_dim": "none",
              "backbone": SMALL_BACKBONE},
    "loss": [{"name": "SelfGroupingLoss"}],
    "optimizer": {"learning_rate": 1e-4},
    "training": {"epochs": 2, "batch_size": 4, "strategy": "multi-worker", "checkpoint_steps": 1},
})
chief = '"index": 0' in os.environ["TF_CONFIG"]

class Die(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if not chief and die_at and int(np.asarray(self.model.optimizer.iterations)) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

try:
    result = train(recipe, Faces(images.astype(np.uint8), labels), out, resume=resume, verbose=0,
                   callbacks=[Die()])
except ConnectionError as error:
    print([str(error)], flush=True)
    sys.exit(2)
print([result.epochs, result.devices, result.metrics["loss"], result.metrics["val_auc"]])
"""


ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_NUM_INTRAOP_THREADS": "1"}


def lose_a_worker(out) -> None:
    """Starts two workers. One of them is killed in its third step."""
    chief, killed = start_workers(CODE, str(out), "new", "3", **ENVIRONMENT)
    status, _, error = killed.wait(timeout=300)
    assert status == -9, error[-3000:]
    died = time.monotonic()
    status, printed, error = chief.wait(timeout=60)
    assert time.monotonic() - died < 60
    assert status == 2, error[-2000:]
    newest = StepCheckpoints(out / "checkpoints").newest()
    assert newest is not None
    assert "Another worker was lost" in printed
    assert str(newest) in printed


@pytest.mark.slow
def test_the_others_end_with_a_message_within_a_minute(tmp_path):
    lose_a_worker(tmp_path / "run")


@pytest.mark.slow
def test_all_workers_resume_from_the_checkpoint(tmp_path):
    lose_a_worker(tmp_path / "run")
    again = start_workers(CODE, str(tmp_path / "run"), "resume", "0", **ENVIRONMENT)
    whole = [worker.literals(timeout=300)[-1] for worker in again]
    assert whole[0] == whole[1]
    assert whole[0][:2] == [2, "2 replicas on 2 workers"]
    undisturbed = start_workers(CODE, str(tmp_path / "whole"), "new", "0", **ENVIRONMENT)
    expected = [worker.literals(timeout=300)[-1] for worker in undisturbed]
    np.testing.assert_allclose(whole[0][2:], expected[0][2:], rtol=1e-6)
    found, wanted = (
        StepCheckpoints(tmp_path / name / "checkpoints").load()[0] for name in ("run", "whole")
    )
    assert found.step == wanted.step == 8
    for key, value in wanted.arrays.items():
        np.testing.assert_allclose(found.arrays[key], value, rtol=1e-6, atol=1e-6, err_msg=key)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["epochs"] == 2
