"""Training on four virtual JAX devices equals one device, without TensorFlow."""

from __future__ import annotations

import importlib.util

import keras
import pytest
from blocking import WITHOUT_TENSORFLOW
from processes import run_python

from gfkeras.training.distribution import JaxDevices

needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed"
)

# `train` returns losses, weights before and after, and the shapes of the parts of the centers.
COMMON = """
import keras, jax, numpy as np
jax.config.update("jax_default_matmul_precision", "highest")
from gfkeras import heads, losses
from gfkeras.data import FaceBatches
from gfkeras.models import FaceClassifier
from gfkeras.training.distribution import Distribution, JaxDevices

rng = np.random.default_rng(0)
labels = np.repeat(np.arange(8), 4)
colours = rng.integers(40, 216, (8, 1, 1, 3))[labels]
images = (colours + rng.integers(-30, 31, (32, 112, 112, 3))).astype(np.uint8)

class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []
    def on_train_batch_end(self, batch, logs):
        self.values.append(float(logs["loss"]))

def parts(variable):
    return sorted({shard.data.shape for shard in variable.value.addressable_shards})

def train(distribution, model, head, extra=(), rate=0.01, steps=20, sgd=keras.optimizers.SGD):
    with distribution.scope():
        keras.utils.set_random_seed(0)
        classifier = FaceClassifier(model(), head, [loss() for loss in extra])
        classifier.compile(sgd(rate, momentum=0.9, weight_decay=5e-4))
        classifier.optimizer.build(classifier.trainable_variables)
        before = [np.asarray(v) for v in classifier.trainable_variables]
        batches = FaceBatches(images, labels, 16, seed=1, drop_remainder=True)
        noted = Losses()
        epochs = steps // len(batches)
        classifier.fit(distribution.dataset(batches, epochs, 0), epochs=epochs, shuffle=False,
                       verbose=0, callbacks=[noted])
        after = [np.asarray(v) for v in classifier.variables]
        kept = [v for v in classifier.variables + classifier.optimizer.variables
                if "centers" in v.path]
        return (np.array(noted.values), before, after, {v.path: parts(v) for v in kept},
                classifier)

def distance(one, other):
    \"\"\"Of the losses, relative, and of the weights and states, relative above 1.\"\"\"
    weights = [np.max(np.abs(a.astype("float64") - b) / np.maximum(1, np.abs(b)))
               for a, b in zip(one[2], other[2])]
    return float(np.abs(other[0] / one[0] - 1).max()), float(max(weights))
"""


def run(code: str, *arguments: str, optimize: int = 0) -> list:
    """Runs code on four devices. `optimize` is XLA's level, and 0 compiles fastest."""
    return run_python(
        WITHOUT_TENSORFLOW
        + COMMON
        + code
        + '\nassert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)',
        *arguments,
        KERAS_BACKEND="jax",
        XLA_FLAGS=f"--xla_backend_optimization_level={optimize} "
        "--xla_cpu_use_fusion_emitters=false --xla_force_host_platform_device_count=4",
    )


SMALL = """
def model():
    # Without batch normalisation, whose chaos would hide small differences.
    inputs = keras.Input((112, 112, 3))
    x = keras.layers.AveragePooling2D(16)(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dense(32, activation="tanh")(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(16)(keras.layers.Dropout(0.2)(x)))
"""

HEADS_AND_LOSSES = (
    SMALL
    + """
cases = {
    "sub-centers": lambda: (heads.SubCenterArcFace(8, scale=16.0), ()),
    "norms": lambda: (heads.AdaFace(8, scale=16.0), [lambda: losses.CenterLoss(8, weight=0.1)]),
    "pairs": lambda: (heads.CurricularFace(8, scale=16.0), [losses.TripletLoss]),
}
for name, make in cases.items():
    results = [train(d, model, *make(), steps=20)
               for d in (Distribution(), JaxDevices(), JaxDevices(2))]
    print([name, *(distance(results[0], other) for other in results[1:]), results[2][3]])
"""
)


@needs_jax
@pytest.mark.slow
def test_statistics_are_those_of_the_global_batch():
    cases = run(HEADS_AND_LOSSES)
    assert [case[0] for case in cases] == ["sub-centers", "norms", "pairs"]
    for name, data_parallel, model_parallel, _ in cases:
        for losses, weights in (data_parallel, model_parallel):
            assert losses < 1e-4, name
            assert weights < 1e-4, name
    for _, _, _, parts in cases:
        # Momentum and the centers of CenterLoss are split like the centers of the head.
        assert len(parts) >= 2
        assert all(shapes[0][0] == 4 and len(shapes) == 1 for shapes in parts.values()), parts


UNEVEN = (
    SMALL
    + """
from gfkeras.training.callbacks.verification import embed

one = train(Distribution(), model, heads.ArcFace(9, scale=16.0))
cut = JaxDevices(2)
other = train(cut, model, heads.ArcFace(9, scale=16.0))
print([distance(one, other), other[3]])
# The last batch of 7 does not divide by four devices.
alone = embed(one[4].model, images[:23], 8)
with cut.scope():
    print(float(np.abs(embed(other[4].model, images[:23], 8) - alone).max()))
    print(float(np.abs(embed(other[4].model, images[:23], 6) - alone).max()))
    print(float(np.abs(embed(other[4].model, images[:2], 64) - alone[:2]).max()))
    # What was kept goes back into cut variables.
    centers = other[4].head.centers
    kept = np.asarray(centers)
    centers.assign(np.zeros_like(kept))
    centers.assign(kept)
    print([parts(centers), float(np.abs(np.asarray(centers) - kept).max())])
    other[4].model.save_weights(sys.argv[1])
    other[4].model.load_weights(sys.argv[1])
print(float(np.abs(embed(other[4].model, images[:23], 8) - alone).max()))
"""
)


@needs_jax
def test_identities_that_do_not_divide_embedding_and_restoring(tmp_path):
    weights = str(tmp_path / "model.weights.h5")
    (distance, parts), *embedded, (restored, changed), outside = run(UNEVEN, weights)
    assert max(distance) < 1e-4
    # The momentum is also split along the embedding.
    assert list(parts.values()) == [[(9, 8)], [(9, 8)]], parts
    assert max(embedded) < 1e-4
    assert (restored, changed) == ([(9, 8)], 0.0)
    assert outside < 1e-4


PARTIAL_FC = (
    SMALL
    + """
from gfkeras.training.optimizers import SGD

results = [train(d, model, heads.PartialFC(40, 0.5, head_arguments={"scale": 16.0}), sgd=SGD)
           for d in (Distribution(), JaxDevices(), JaxDevices(2))]
for result in results:
    # What a step drew is of no use to the next, and a device may hold it as it likes.
    result[2][:] = [v for v, variable in zip(result[2], result[4].variables, strict=True)
                    if "row_" not in variable.name]
print([*(distance(results[0], other) for other in results[1:]), results[2][3]])
"""
)


@needs_jax
@pytest.mark.slow
def test_partial_fc_draws_and_updates_as_on_one_device():
    ((data, model, kept),) = run(PARTIAL_FC)
    for losses, weights in (data, model):
        assert losses < 1e-4
        assert weights < 1e-4
    # Centers and momentum are split over two of the devices.
    assert len(kept) == 2
    assert all(shapes == [(20, 16)] for shapes in kept.values())


GROUPFACE = """
from gfkeras.backbones import MobileFaceNet
from gfkeras.models import GroupFace
from small_networks import SMALL_BOTTLENECKS

def model():
    backbone = MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS, bn_epsilon=0.1)
    return GroupFace(backbone, embedding_dim=16, num_groups=4, shared_dim=32, dropout=0.2,
                     bn_epsilon=0.1)

def head():
    return heads.ArcFace(8, scale=16.0, margin=0.1)

extra = [lambda: losses.SelfGroupingLoss(expectation="ema")]
RATE = 4e-6
# A deep network with batch normalisation is chaotic at first: at a rate of 1e-4 an error of 1e-7
# in the weights is one of 1e-1 in the loss after 20 steps, on a single device too.
one = train(Distribution(), model, head(), extra, rate=RATE)
names = [v.path for v in one[4].trainable_variables]
moved = [float(np.abs(v - b).max()) for v, b in zip(one[4].trainable_variables, one[1])]
print([float(one[0][0]), float(one[0].min()), max(moved)])
for model_parallel in PLACEMENTS:
    other = train(JaxDevices(model_parallel), model, head(), extra, rate=RATE)
    print([*distance(one, other), other[3]])
"""


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize("placements", [(1, 2), (4,)])
def test_groupface_on_four_devices_and_with_centers_over_some(placements):
    (first, lowest, moved), *others = run(f"PLACEMENTS = {placements}\n{GROUPFACE}")
    assert lowest < 0.9 * first
    assert moved > 5e-4
    for losses, weights, _ in others:
        assert losses < 1e-4
        assert weights < 1e-4
    parts = [set(map(tuple, (shapes[0] for shapes in other[2].values()))) for other in others]
    assert parts == [{(8 // model_parallel, 16)} for model_parallel in placements]


LARGE = """
from gfkeras.layers import GroupEnsemble

def centers():
    keras.utils.set_random_seed(0)
    head = heads.ArcFace(40000)
    head.build((None, 512))
    return head.centers

def kernel():
    keras.utils.set_random_seed(0)
    layer = GroupEnsemble(32, 512)
    layer.build((None, 1024), (None, 32))
    return layer.kernel

# Keras fills large variables part by part.
for make in (centers, kernel):
    whole = np.asarray(make())
    with JaxDevices(4).scope():
        cut = make()
    print([parts(cut), float(np.abs(np.asarray(cut) - whole).max() / np.abs(whole).max())])
print(keras.distribution.distribution())

def error(function):
    try:
        with JaxDevices(4).scope():
            function()
    except ValueError as error:
        return str(error)

def batches(size, **arguments):
    return FaceBatches(images, labels, size, **arguments)

print([
    error(lambda: JaxDevices(3)),
    error(lambda: JaxDevices(devices=["cpu:0", "cpu:4"])),
    error(lambda: JaxDevices(devices=["gpu:0"])),
    error(lambda: JaxDevices(devices=["cpu:0", "CPU:0"])),
    error(lambda: heads.ArcFace(9).build((None, 6))),
    error(lambda: JaxDevices().dataset(batches(6), 1, 0)),
    error(lambda: JaxDevices().dataset(batches(12, shuffle=False).sharded(0, 1), 1, 0)),
    error(lambda: JaxDevices(0)),
])
labels, images = labels[:30], images[:30]
print([error(lambda: JaxDevices().dataset(batches(8), 1, 0))])
print([d.describe() for d in (JaxDevices(), JaxDevices(2), JaxDevices(devices=["CPU:1"]))])
jax.process_count = lambda *_: 2
print([error(JaxDevices)])
"""


@needs_jax
def test_large_variables_and_errors():
    (centers, off), (kernel, kernel_off), nothing, errors, rest, texts, processes = run(
        LARGE, optimize=1
    )
    assert centers == [(10000, 512)]
    assert kernel == [(32, 1024, 512)]
    assert max(off, kernel_off) < 1e-5
    assert nothing is None
    for message, expected in zip(
        errors,
        (
            "`training.model_parallel` must divide the number of devices, 4: expected 1, 2, 4. ",
            "`devices` must be among cpu:0, cpu:1, cpu:2, cpu:3. Received: cpu:4",
            "`devices` must be among cpu:0, cpu:1, cpu:2, cpu:3. Received: gpu:0",
            "`devices` must name one device or more, each once. Received: ['cpu:0', 'CPU:0']",
            "num_classes=9, or the embedding's 6 dimensions; num_classes 8 or 12 would work. ",
            "`training.batch_size` must be a multiple of the 4 replicas, such as 4 or 8. ",
            None,
            "`training.model_parallel` must be an integer of at least 1. ",
        ),
        strict=True,
    ):
        assert message is None if expected is None else expected in message
        assert "\n" not in (message or "")
    assert "`drop_remainder` must be true" in rest[0]
    assert "a last batch of 6 images" in rest[0]
    assert texts == ["4 CPU devices", "4 CPU devices, centers over 2 of them", "1 CPU device"]
    assert "Received: 2 processes" in processes[0]


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="says that it needs JAX")
def test_another_backend_is_refused():
    with pytest.raises(ValueError, match=r"needs KERAS_BACKEND=jax\. Received: the backend"):
        JaxDevices()
