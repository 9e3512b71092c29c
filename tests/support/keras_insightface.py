"""Networks of Keras_insightface, written from their published layout with Keras' own layers.

`resnet` is its MXNet-style ResNet ("r18" and on, PReLU, output layer E), `mobile_facenet` its
MobileFaceNet with GDC. The names are the original ones, because they are part of the file layout.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers


def _bn_act(x, name, activation="prelu", epsilon=1e-5):
    x = layers.BatchNormalization(epsilon=epsilon, name=f"{name}bn")(x)
    if activation == "prelu":
        slope = keras.initializers.Constant(0.25)
        return layers.PReLU(shared_axes=[1, 2], alpha_initializer=slope, name=f"{name}prelu")(x)
    return layers.Activation(activation, name=f"{name}{activation}")(x) if activation else x


def _conv(x, filters, size, strides, name):
    if size == 3:
        x = layers.ZeroPadding2D(((1, 1), (1, 1)))(x)
    conv = layers.Conv2D(filters, size, strides=strides, use_bias=False, name=f"{name}conv")
    return conv(x)


def resnet(units=(2, 2, 2, 2), embedding=512, activation="prelu", max_pool=False):
    images = layers.Input((112, 112, 3))
    x = _bn_act(_conv(images, 64, 3, 1, "0_"), "0_", activation)
    for stage, (count, width) in enumerate(zip(units, (64, 128, 256, 512), strict=True), 1):
        for unit in range(1, count + 1):
            name, strides = f"stack{stage}_block{unit}", 2 if unit == 1 else 1
            shortcut = x
            if strides == 2 and max_pool and width == 64:
                shortcut = layers.MaxPooling2D(1, strides=2)(x)
            elif strides == 2:
                shortcut = _conv(x, width, 1, 2, f"{name}_shortcut_")
                shortcut = _bn_act(shortcut, f"{name}_shortcut_", None)
            y = _conv(_bn_act(x, f"{name}_1_", None), width, 3, 1, f"{name}_1_")
            y = _conv(_bn_act(y, f"{name}_2_", activation), width, 3, strides, f"{name}_2_")
            x = layers.Add(name=f"{name}_add")([shortcut, _bn_act(y, f"{name}_3_", None)])
    x = layers.BatchNormalization(name="E_batchnorm")(x)
    x = layers.Flatten(name="E_flatten")(layers.Dropout(0.4)(x))
    x = layers.Dense(embedding, use_bias=False, name="E_dense")(x)
    x = layers.Reshape([1, 1, -1])(x)
    x = layers.BatchNormalization(scale=False, name="pre_embedding")(x)
    x = layers.Activation("linear", dtype="float32", name="embedding")(layers.Flatten()(x))
    return keras.Model(images, x, name="ResNet18")


def mobile_facenet(embedding=256):
    """Only its first layers differ from ours: SAME padding at stride 2, and a separable stem."""
    images = layers.Input((112, 112, 3))
    x = layers.Conv2D(64, 3, strides=2, padding="same", use_bias=False, name="stem_1_conv")(images)
    x = _bn_act(x, "stem_1_", epsilon=1e-3)
    separable = layers.SeparableConv2D(
        64, 3, padding="same", use_bias=False, name="stem_2_separable"
    )
    x = _bn_act(separable(x), "stem_2_", epsilon=1e-3)
    x = layers.DepthwiseConv2D(56, use_bias=False, name="GDC_dw")(x)
    x = layers.BatchNormalization(name="GDC_batchnorm")(x)
    x = layers.Conv2D(embedding, 1, use_bias=False, name="GDC_conv")(x)
    x = layers.Flatten()(layers.BatchNormalization(name="pre_embedding")(x))
    return keras.Model(images, x, name="mobile_facenet")


def randomize(model, images):
    """Sets random weights and the statistics of these images. No value keeps its default."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            value = keras.ops.convert_to_numpy(weight)
            if weight.name == "gamma":
                value = rng.uniform(0.5, 1.5, value.shape)
            elif weight.name in ("beta", "bias"):
                value = rng.normal(0, 0.2, value.shape)
            elif weight.name == "alpha":
                value = rng.uniform(-0.3, 0.6, value.shape)
            values.append(value)
        layer.set_weights(values)
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
