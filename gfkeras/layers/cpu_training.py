"""When layers may train in the forms that are made for TensorFlow's CPU kernels."""

from __future__ import annotations

import functools
from typing import Any

import keras


def trains_on_cpu(training: Any) -> bool:
    """Whether a layer that is called now trains with TensorFlow's own CPU kernels.

    Not so on JAX, at inference (what is exported or saved is always Keras' graph), where
    TensorFlow may use another device than CPUs, and in a step that XLA compiles as a
    whole (`compile(jit_compile=True)`): XLA fuses by itself, and takes the variance of a
    batch as E[x²] − E[x]², which loses digits.

    Claims no device: asking for the visible ones does not initialise them.

    Args:
        training: as given to the layer's `call`.
    """
    if not training or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if any(device.device_type != "CPU" for device in tf.config.get_visible_devices()):
        return False
    try:
        from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
    except ImportError:
        return False
    return not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


@functools.cache
def xla_compiles() -> bool:
    """Whether this TensorFlow can compile functions for CPUs; some builds cannot."""
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def double(x: Any) -> Any:
        return x + x

    try:
        with tf.init_scope(), tf.device("CPU"):
            return float(double(tf.ones(()))) == 2.0
    except (tf.errors.OpError, ValueError):
        return False
