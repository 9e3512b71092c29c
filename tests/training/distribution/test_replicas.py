"""The same training on one replica, on two of one process, and on two processes."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
from processes import run_python, start_python

# Twenty steps of a network without chaos: batch normalisation's large epsilon and a low rate keep
# the rounding of sums in another order from growing, as the tolerances ask.
CODE = """
import os, sys
import numpy as np, keras
from gfkeras.data import Faces
from gfkeras.training import Recipe, train

what, strategy, out = sys.argv[1:4]
rng = np.random.default_rng(0)
labels = np.repeat(np.arange(8), 5)
colours = rng.integers(40, 216, (8, 1, 1, 3))[labels]
faces = Faces((colours + rng.integers(-30, 31, (40, 112, 112, 3))).astype(np.uint8), labels)
backbone = {"name": "MobileFaceNet", "width": 0.0625, "bn_epsilon": 0.1}
group = {"name": "GroupFace", "embedding_dim": 16, "num_groups": 4, "group_dim": 16,
         "shared_dim": "none", "backbone": backbone}
plain = {"name": "Backbone", "embedding_dim": 16, "backbone": backbone}
tables = {
    "groupface": {"model": group, "loss": [{"name": "SelfGroupingLoss", "expectation": "ema"}]},
    "arcface": {"model": plain, "loss": [{"name": "CenterLoss"}]},
    "partial_fc": {"model": plain, "head": {"name": "PartialFC", "sample_rate": 0.5}},
}[what]
recipe = Recipe.parse({
    **tables,
    "optimizer": {"learning_rate": 5e-5},
    "training": {"epochs": 4, "batch_size": 8, "strategy": strategy, "checkpoint_steps": 7},
})
losses = []
class Losses(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        losses.append(float(np.asarray(logs["loss"])))
    def on_train_end(self, logs=None):
        self.arrays = [np.asarray(v) for v in self.model.variables if "seed" not in v.path]

watch = Losses()
result = train(recipe, faces, out, verbose=0, callbacks=[watch])
np.savez(f"{out}.{os.getpid()}.npz", losses=losses, **{f"w{i:04d}": a for i, a in enumerate(watch.arrays)})
print([result.devices, f"{out}.{os.getpid()}.npz"])
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tf_config(ports: list[int], index: int) -> str:
    workers = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


@pytest.mark.parametrize("what", ["groupface", "arcface", "partial_fc"])
def test_replicas_and_workers_train_alike(what, tmp_path):
    environment = {"KERAS_BACKEND": "tensorflow", "TF_NUM_INTRAOP_THREADS": "1"}
    ports = free_ports(2)
    processes = [
        start_python(CODE, what, "multi-worker", str(tmp_path / "workers"),
                     **environment, TF_CONFIG=tf_config(ports, index))
        for index in range(2)
    ]  # fmt: skip
    workers = [process.literals() for process in processes]
    (one,) = run_python(CODE, what, "none", str(tmp_path / "one"), **environment)
    (two,) = run_python(
        CODE, what, "mirrored", str(tmp_path / "two"), two_cpus=True, **environment
    )
    assert one[0] == "one device"
    assert two[0] == "2 replicas"
    assert [worker[0][0] for worker in workers] == ["2 replicas on 2 workers"] * 2
    with np.load(one[1]) as expected:
        assert len(expected["losses"]) == 20
        # It learns: the losses are not those of a network that stands still.
        assert expected["losses"][-1] < 0.98 * expected["losses"][0]
        for found in (two[1], workers[0][0][1], workers[1][0][1]):
            with np.load(found) as arrays:
                np.testing.assert_allclose(arrays["losses"], expected["losses"], rtol=1e-5)
                for key in expected.files:
                    if key != "losses":
                        np.testing.assert_allclose(
                            arrays[key], expected[key], rtol=1e-4, atol=1e-4, err_msg=key
                        )
