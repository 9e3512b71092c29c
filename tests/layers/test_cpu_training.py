"""The layers with faster training on CPUs, which give the results and files of Keras' layers."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import ops
from processes import run_python
from small_networks import SMALL_BOTTLENECKS

from gfkeras import layers
from gfkeras.backbones import MobileFaceNet
from gfkeras.layers.cpu_layers import trains_on_cpu

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(not ON_TENSORFLOW, reason="only on TensorFlow")
KERAS_LAYERS = {
    layers.BatchNormalization: keras.layers.BatchNormalization,
    layers.Conv2D: keras.layers.Conv2D,
    layers.PReLU: keras.layers.PReLU,
}
MAKERS = {
    "BatchNormalization": lambda cls: cls(momentum=0.9, epsilon=1e-5),
    "Conv2D": lambda cls: cls(5, 1, use_bias=False),
    "PReLU": lambda cls: cls("ones", shared_axes=[1, 2]),
}
PAIRS = [(ours, MAKERS[ours.__name__]) for ours in KERAS_LAYERS]
if ON_TENSORFLOW:
    # Recipes use `synchronized`. On one replica, the statistics are the same.
    PAIRS.append((layers.BatchNormalization, lambda cls: cls(synchronized=True)))
SHAPE = (3, 4, 6, 8)


def images(shape=SHAPE, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def graph_ops(layer: keras.layers.Layer, **arguments: bool) -> set[str]:
    """Returns the ops of the layer's TensorFlow graph, and "XLA" if a part is compiled."""
    import tensorflow as tf

    graph = tf.function(lambda x: layer(x, **arguments)).get_concrete_function(tf.TensorSpec(SHAPE))
    # The text of the graph contains the called functions too.
    text = str(graph.graph.as_graph_def())
    compiled = re.search(r'key: "_XlaMustCompile"\s+value \{\s+b: true', text)
    return {*re.findall(r'\bop: "(\w+)"', text), *(["XLA"] if compiled else [])}


@needs_tensorflow
@pytest.mark.parametrize(("cls", "make"), PAIRS)
def test_only_training_uses_the_own_form(cls, make):
    its_own = {"BatchNormalization": "FusedBatchNormV3", "Conv2D": "MatMul", "PReLU": "XLA"}
    layer = make(cls)
    layer(images())
    assert its_own[cls.__name__] in graph_ops(layer, training=True)
    twin = make(KERAS_LAYERS[cls])
    twin(images())
    inference = graph_ops(layer, training=False)
    assert its_own[cls.__name__] not in inference
    assert inference == graph_ops(twin)


@pytest.mark.parametrize(("cls", "make"), PAIRS)
def test_weights_configuration_and_inference_agree_with_keras(cls, make):
    x = images()
    ours, theirs = make(cls), make(KERAS_LAYERS[cls])
    ours(x), theirs(x)
    assert [v.path.split("/")[-1] for v in ours.weights] == [
        v.path.split("/")[-1] for v in theirs.weights
    ]
    config = {**theirs.get_config(), "name": ours.name}
    assert ours.get_config() == config
    # An older file names Keras' class for this layer.
    old = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(theirs))
    assert type(old) is KERAS_LAYERS[cls]
    new = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ours))
    assert type(new) is cls
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(*(ops.convert_to_numpy(each(x)) for each in (ours, theirs)))


def test_weights_saved_from_keras_layers_are_read(tmp_path):
    backbone = MobileFaceNet(
        embedding_dim=8, width=0.125, bottlenecks=SMALL_BOTTLENECKS, input_shape=(32, 32, 3)
    )

    def own(layer):
        return KERAS_LAYERS.get(type(layer), type(layer)).from_config(layer.get_config())

    old = keras.models.clone_model(backbone, clone_function=own)
    assert {type(layer) for layer in old.layers}.isdisjoint(KERAS_LAYERS)
    rng = np.random.default_rng(1)
    old.set_weights([rng.uniform(0.1, 1, w.shape) for w in old.get_weights()])
    old.save_weights(tmp_path / "old.weights.h5")
    backbone.load_weights(tmp_path / "old.weights.h5")
    for a, b in zip(backbone.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    faces = rng.integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    np.testing.assert_array_equal(*(ops.convert_to_numpy(m(faces)) for m in (backbone, old)))


@needs_tensorflow
@pytest.mark.parametrize(("cls", "make"), PAIRS)
def test_a_compiled_step_agrees_with_keras(cls, make):
    import tensorflow as tf

    layer, twin = make(cls), make(KERAS_LAYERS[cls])
    layer(images()), twin(images())
    twin.set_weights(layer.get_weights())
    # Values far from zero, for which XLA's batch normalisation would lose the variance.
    x = tf.constant(images() + 300)
    training = {"training": True} if cls is layers.BatchNormalization else {}

    @tf.function(jit_compile=True)
    def gradients():
        found = []
        for each, arguments in ((layer, {"training": True}), (twin, training)):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.sin(each(x, **arguments)))
            wanted = [x, *(v.value for v in each.trainable_variables)]
            found.append((loss, *tape.gradient(loss, wanted)))
        return found

    for a, b in zip(*gradients(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@needs_tensorflow
def test_other_devices_and_inference_use_the_form_of_keras(monkeypatch):
    import tensorflow as tf

    assert trains_on_cpu(True)
    assert not trains_on_cpu(False)
    assert not trains_on_cpu(None)
    devices = [*tf.config.get_visible_devices(), tf.config.PhysicalDevice("GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda *_: devices)
    assert not trains_on_cpu(True)


@pytest.mark.skipif(ON_TENSORFLOW, reason="about JAX")
def test_jax_uses_the_form_of_keras():
    assert not trains_on_cpu(True)


TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
from gfkeras import layers

def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input((6, 6, 4)), layers.Conv2D(8, 1, use_bias=False),
        layers.BatchNormalization(momentum=0.5),
        layers.PReLU(keras.initializers.Constant(0.25), shared_axes=[1, 2]),
        keras.layers.Flatten(), keras.layers.Dense(3),
    ])

rng = np.random.default_rng(0)
half = rng.normal(size=(4, 6, 6, 4)).astype("float32")
x = np.concatenate([half, half])  # Equal halves have equal statistics.
y = np.tile(rng.normal(size=(4, 3)).astype("float32"), (2, 1))
found = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope():
        model = network()
        model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    found.append(model.get_weights())
print(max(float(np.abs(a - b).max()) for a, b in zip(*found)))
"""


@needs_tensorflow
def test_two_replicas_train_as_one():
    (difference,) = run_python(TWO_REPLICAS, two_cpus=True)
    assert difference < 1e-5


@needs_tensorflow
def test_the_last_smaller_batch_and_a_graph_without_batch_size():
    network = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            layers.Conv2D(8, 1, use_bias=False),
            layers.BatchNormalization(),
            layers.PReLU(shared_axes=[1, 2]),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    network.compile(keras.optimizers.SGD(0.1), "mse")
    x = images((7, 6, 6, 4))
    history = network.fit(x, np.zeros((7, 8)), batch_size=4, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    before = network.predict(x, verbose=0)
    np.testing.assert_allclose(before, network(x, training=False), rtol=1e-5, atol=1e-6)
