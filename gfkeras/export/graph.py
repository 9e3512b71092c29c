"""The graph that is exported: images in, named outputs out, as little work as possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from gfkeras.errors import one_of, positive_int, require
from gfkeras.export.affine import Affine
from gfkeras.export.float32 import float32_model
from gfkeras.export.folding import fold
from gfkeras.layers.group_ensemble import MODES
from gfkeras.models import FaceClassifier, GroupFace
from gfkeras.models.outputs import as_outputs

INPUT = "images"
OUTPUTS = ("embedding", "group_feature", "group_logits")


def export_form(model: keras.Model, mode: str | None = None, batch_size: int | None = None) -> Any:
    """A `tf.Module` with one method, `serve`, ready for SavedModel and the converters.

    A GroupFace is rewritten (`gfkeras.export.fold`); other models are taken as they
    are. The hard mode gathers the chosen group's weights and multiplies by them
    alone; the soft mode is one product (p ⊗ x)·W without K representations at once.

    Args:
        model: a `GroupFace`, a `FaceClassifier` with one inside, a backbone, or any
            `keras.Model` from images to an embedding.
        mode: "soft" or "hard" for a GroupFace; its own by default.
        batch_size: fixes the batch; any number of images by default.

    Returns:
        The module. `serve(images)` takes (B, H, W, 3) float32, 0…255, and returns
        the dictionary of `embedding`, `group_feature` and `group_logits`, of which a
        model without groups has the first alone.

    Raises:
        ValueError: for a model or mode that does not fit, or on another Keras backend
            than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Export needs Keras on TensorFlow: save the model with save_to and export the folder "
            f"with KERAS_BACKEND=tensorflow. Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    model = exported_model(model)
    if batch_size is not None:
        positive_int("batch_size", batch_size)
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:] or shape[3] != 3:
        raise ValueError(
            "`model` must take images of shape (B, H, W, 3). "
            f"Received: {type(model).__name__} with input shape {shape}"
        )
    if isinstance(model, GroupFace):
        mode = model.mode if mode is None else one_of("mode", mode, MODES)
    elif mode is not None:
        raise ValueError(f"`mode` is for a GroupFace. Received: mode={mode!r}, {type(model)}")
    tf: Any = require("tensorflow", "export")
    model = float32_model(model)
    form = tf.Module(name="gfkeras")
    # What the graph reads must be reachable from the module, or it is not saved.
    form.weights = []

    def variable(value: np.ndarray) -> Any:
        form.weights.append(tf.Variable(value.astype(np.float32), trainable=False))
        return form.weights[-1]

    if isinstance(model, GroupFace):
        read_as_they_are = (model.backbone, model.get_layer("group_decision").nonlinearity)
        form.weights += [v.value for layer in read_as_they_are for v in layer.variables]
        compute = _groupface(tf, model, mode or model.mode, variable)
    else:
        form.weights += [v.value for v in model.variables]
        compute = _plain(model)

    def serve(images: Any) -> dict[str, Any]:
        outputs = compute(images)
        # A name for each, which SavedModel keeps and both converters read.
        return {key: tf.identity(outputs[key], key) for key in OUTPUTS if key in outputs}

    signature = tf.TensorSpec((batch_size, *shape[1:]), tf.float32, INPUT)
    form.serve = tf.function(serve, input_signature=[signature], autograph=False)
    return form


def exported_model(model: Any) -> keras.Model:
    """The model that embeds, out of what may be a training model."""
    if isinstance(model, FaceClassifier):
        model = model.model
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a keras.Model. Received: model={model!r}")
    return model


def _plain(model: keras.Model) -> Callable[[Any], dict[str, Any]]:
    return lambda images: as_outputs(model(images, training=False))


def _groupface(
    tf: Any, model: GroupFace, mode: str, variable: Callable[[np.ndarray], Any]
) -> Callable[[Any], dict[str, Any]]:
    head = fold(model)
    nonlinearity = model.get_layer("group_decision").nonlinearity

    def fully_connected(affine: Affine | None) -> Callable[[Any], Any]:
        if affine is None:
            return lambda x: x
        kernel, bias = variable(affine.kernel), variable(affine.bias)
        return lambda x: tf.matmul(x, kernel) + bias

    shared = fully_connected(head.shared)
    instance = fully_connected(head.instance)
    decision_input = fully_connected(head.decision_input)
    decision_output = fully_connected(head.decision_output)
    classifier = fully_connected(head.classifier)
    ensemble = (_hard if mode == "hard" else _soft)(
        tf, head.group_kernel, head.group_bias, variable
    )

    def compute(images: Any) -> dict[str, Any]:
        feature = shared(model.backbone(images, training=False))
        # The instance embedding, or where it is folded away the feature itself.
        source = instance(feature)
        group_feature = decision_output(nonlinearity(decision_input(source)))
        group_logits = classifier(group_feature)
        embedding = ensemble(feature, group_logits)
        if head.instance is not None:
            embedding = tf.concat([source, embedding], axis=-1)
        return {
            "embedding": embedding,
            "group_feature": group_feature,
            "group_logits": group_logits,
        }

    return compute


def _hard(
    tf: Any, kernel: np.ndarray, bias: np.ndarray, variable: Callable[[np.ndarray], Any]
) -> Callable[[Any, Any], Any]:
    # (K, D, F): a group is one run of memory, and each output one dot product along it.
    # Of the forms in docs/export.md this is the fastest that takes any batch.
    kernels, biases = variable(np.ascontiguousarray(kernel.transpose(0, 2, 1))), variable(bias)

    def ensemble(feature: Any, group_logits: Any) -> Any:
        # keras.ops.argmax becomes BitwiseAnd, which TFLite has not.
        group = tf.math.argmax(group_logits, axis=-1, output_type=tf.int32)
        chosen = tf.gather(kernels, group)
        product = tf.matmul(tf.expand_dims(feature, 1), chosen, transpose_b=True)
        return tf.squeeze(product, axis=1) + tf.gather(biases, group)

    return ensemble


def _soft(
    tf: Any, kernel: np.ndarray, bias: np.ndarray, variable: Callable[[np.ndarray], Any]
) -> Callable[[Any, Any], Any]:
    groups, width, dim = kernel.shape
    kernels, biases = variable(kernel.reshape(groups * width, dim)), variable(bias)

    def ensemble(feature: Any, group_logits: Any) -> Any:
        p = tf.nn.softmax(group_logits, axis=-1)
        weighted = tf.expand_dims(p, 2) * tf.expand_dims(feature, 1)
        weighted = tf.reshape(weighted, (-1, groups * width))
        return tf.matmul(weighted, kernels) + tf.matmul(p, biases)

    return ensemble
