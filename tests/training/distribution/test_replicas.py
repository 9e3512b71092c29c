"""The same training on one replica, on two replicas in one process, and in two processes."""

from __future__ import annotations

import numpy as np
import pytest
from processes import run_python, start_workers

# One convolution and its batch normalisation. In a deep network, the rounding of sums in another
# order grows a thousandfold within twenty steps, even on one replica.
CODE = """
import sys
import numpy as np, keras
from keras import layers
import gfkeras
from gfkeras import heads, losses
from gfkeras.data import FaceBatches
from gfkeras.models import FaceClassifier, GroupFace, synchronize_batch_norm
from gfkeras.training.distribution import Distribution, TensorFlowReplicas
from gfkeras.training.optimizers import SGD

strategy, out = sys.argv[1:3]
distribution = {"none": Distribution, "mirrored": TensorFlowReplicas.mirrored,
                "multi-worker": TensorFlowReplicas.multi_worker}[strategy]()
rng = np.random.default_rng(0)
labels = np.repeat(np.arange(8), 5)
colours = rng.integers(40, 216, (8, 1, 1, 3))[labels]
images = (colours + rng.integers(-30, 31, (40, 112, 112, 3))).astype(np.uint8)
batches = FaceBatches(images, labels, 8, drop_remainder=True)

def backbone(width=None):
    x = inputs = keras.Input((112, 112, 3))
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 127.5, -1)(x))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, use_bias=False)(x))
    x = layers.Flatten()(layers.PReLU(shared_axes=[1, 2])(x))
    return keras.Model(inputs, x if width is None else layers.Dense(width)(x))

def groupface():
    model = GroupFace(backbone(), embedding_dim=16, num_groups=4, group_dim=16, shared_dim=None)
    return FaceClassifier(model, heads.ArcFace(8, scale=16.0, margin=0.2),
                          [losses.SelfGroupingLoss(expectation="ema"),
                           losses.CenterLoss(8, weight=0.01)])

def partial_fc():
    head = heads.PartialFC(40, 0.5, head="ArcFace", head_arguments={"scale": 16.0, "margin": 0.2})
    return FaceClassifier(backbone(16), head)

class Losses(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        found.append(float(np.asarray(logs["loss"])))
    def on_epoch_end(self, epoch, logs=None):
        found_logs.append({key: float(np.asarray(value)) for key, value in logs.items()})

arrays = {}
for make in (groupface, partial_fc):
    found, found_logs = [], []
    with distribution.scope():
        keras.utils.set_random_seed(1)
        classifier = make()
        synchronize_batch_norm(classifier)
        classifier.compile(SGD(0.005, momentum=0.9, weight_decay=1e-3), jit_compile=False)
        classifier.fit(distribution.dataset(batches, 4), epochs=4, steps_per_epoch=len(batches),
                       verbose=0, callbacks=[Losses()])
        arrays[f"{make.__name__}/losses"] = found
        for i, variable in enumerate([*classifier.variables, *classifier.optimizer.variables]):
            if "seed" not in variable.path:
                arrays[f"{make.__name__}/{i:03d} {variable.name}"] = np.asarray(variable)
        evaluated = classifier.evaluate(distribution.dataset(batches, 1), steps=len(batches),
                                        verbose=0, return_dict=True)
        groups = ("effective_groups", "effective_groups_soft")
        arrays[f"{make.__name__}/evaluated"] = [
            evaluated[key] for key in ("loss", "accuracy", *groups) if key in evaluated]
        if "effective_groups" in found_logs[-1]:
            arrays[f"{make.__name__}/groups"] = [[logs[key] for key in groups]
                                                 for logs in found_logs]
if strategy == "multi-worker":
    out += f" {distribution.cluster.index}"
np.savez(out + ".npz", **arrays)
print([distribution.describe(), distribution.is_chief])
"""


ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_NUM_INTRAOP_THREADS": "1"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of each kind of training, by name."""
    folder = tmp_path_factory.mktemp("replicas")
    workers = start_workers(CODE, "multi-worker", str(folder / "worker"), **ENVIRONMENT)
    described = [worker.literals(timeout=300)[-1] for worker in workers]
    assert described == [["2 replicas on 2 workers", True], ["2 replicas on 2 workers", False]]
    one = run_python(CODE, "none", str(folder / "one"), **ENVIRONMENT)
    assert one[-1] == ["one device", True]
    two = run_python(CODE, "mirrored", str(folder / "two"), two_cpus=True, **ENVIRONMENT)
    assert two[-1] == ["2 replicas", True]
    found = {}
    for path in folder.glob("*.npz"):
        with np.load(path) as stored:
            found[path.stem] = dict(stored)
    return found


@pytest.mark.parametrize("way", ["two", "worker 0", "worker 1"])
@pytest.mark.parametrize("what", ["groupface", "partial_fc"])
def test_replicas_and_workers_train_as_one(what, way, runs):
    expected = {key: value for key, value in runs["one"].items() if key.startswith(f"{what}/")}
    found = {key: value for key, value in runs[way].items() if key.startswith(f"{what}/")}
    assert found.keys() == expected.keys()
    losses = expected[f"{what}/losses"]
    assert losses.shape == (20,)
    # The loss falls, so it learns. The logs are means of the epoch so far, and the last log covers
    # the whole last epoch.
    assert losses[-1] < 0.8 * losses[4]
    np.testing.assert_allclose(found[f"{what}/losses"], losses, rtol=1e-5)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-4, err_msg=key)
