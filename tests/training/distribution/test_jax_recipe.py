"""A recipe on four virtual JAX devices is verified, saved and resumed like on one."""

from __future__ import annotations

import importlib.util

import pytest
from blocking import WITHOUT_TENSORFLOW
from processes import run_python

CODE = """
import keras, numpy as np
import gfkeras
from gfkeras.data import Faces
from gfkeras.training import Recipe, train
from small_networks import SMALL_BACKBONE

rng = np.random.default_rng(0)
labels = np.repeat(np.arange(6), 3)
colours = rng.integers(40, 216, (6, 1, 1, 3))[labels]
faces = Faces((colours + rng.integers(-30, 31, (18, 112, 112, 3))).astype(np.uint8), labels)
recipe = Recipe.parse({
    "data": {"holdout_identities": 2},
    "model": {"embedding_dim": 16, "num_groups": 2, "group_dim": 16, "shared_dim": "none",
              "dropout": 0.2, "backbone": SMALL_BACKBONE},
    "loss": [{"name": "SelfGroupingLoss", "expectation": "ema"}],
    "optimizer": {"learning_rate": 1e-4},
    "training": {"epochs": 2, "batch_size": 4, "strategy": "mirrored", "model_parallel": 2,
                 "checkpoint_steps": 1},
})
class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt

whole = train(recipe, faces, sys.argv[1] + "/whole", verbose=0)
assert whole.devices == "4 CPU devices, centers over 2 of them"
try:
    # In the middle of the first epoch, whose three steps hold four images each.
    train(recipe, faces, sys.argv[1] + "/parts", verbose=0, callbacks=[Stop()])
except KeyboardInterrupt:
    pass
parts = train(recipe, faces, sys.argv[1] + "/parts", resume=True, verbose=0)
assert "val_auc" in whole.metrics and np.isfinite(whole.metrics["loss"])
assert abs(parts.metrics["loss"] - whole.metrics["loss"]) < 1e-6
# One device reads what four wrote.
difference = 0.0
for one, other in zip(gfkeras.load(whole.last).weights, gfkeras.load(parts.last).weights):
    difference = max(difference, float(np.abs(np.asarray(one) - np.asarray(other)).max()))
print([parts.epochs, difference])
assert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.slow
def test_a_resumed_run_on_four_devices_is_the_uninterrupted_one(tmp_path):
    (result,) = run_python(
        WITHOUT_TENSORFLOW + CODE,
        str(tmp_path),
        KERAS_BACKEND="jax",
        XLA_FLAGS="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
        "--xla_force_host_platform_device_count=4",
    )
    assert result == [2, 0.0]
