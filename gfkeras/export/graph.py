"""The graph to export, from images to named outputs."""

from collections.abc import Sequence
from typing import Any

import keras

from gfkeras.errors import one_of, positive_int, require, wrong
from gfkeras.export.preparation import STEPS, NotRewritable, prepare
from gfkeras.export.preparation.preparing import Step, float32_model
from gfkeras.layers.group_ensemble import MODES
from gfkeras.models import FaceClassifier, GroupFace
from gfkeras.models.properties import as_outputs

INPUT = "images"
OUTPUTS = ("embedding", "group_feature", "group_logits")


def export_form(
    model: keras.Model,
    mode: str | None = None,
    batch_size: int | None = None,
    steps: Sequence[Step] = STEPS,
) -> Any:
    """Returns a `tf.Module` with one method, `serve`, for SavedModel and the converters.

    A functional model is simplified first (`gfkeras.export.preparation`). Other models are exported
    as they are. The hard mode gathers the weights of the chosen group and multiplies only by them.
    The soft mode is one product (p ⊗ x)·W, which avoids K separate representations.

    `serve(images)` takes (B, H, W, 3) float32, 0…255, and returns a dictionary with `embedding`. A
    GroupFace also returns `group_feature` and `group_logits`.

    Args:
        model, mode, batch_size: see `export_model`.
        steps: steps of the preparation.

    Raises:
        ValueError: if the model or mode cannot be exported, or if the backend is not TensorFlow.
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
        received = f"{type(model).__name__} with input shape {shape}"
        raise wrong("model", "take images of shape (B, H, W, 3)", received)
    if isinstance(model, GroupFace):
        mode = model.mode if mode is None else one_of("mode", mode, MODES)
    elif mode is not None:
        raise ValueError(f"`mode` is for a GroupFace. Received: mode={mode!r}, {type(model)}")
    try:
        prepared = prepare(model, mode, steps)
    except NotRewritable:
        prepared = float32_model(model)
    return form_of(prepared, batch_size)


def form_of(model: keras.Model, batch_size: int | None = None) -> Any:
    """Returns the `tf.Module` of a prepared model that outputs an embedding or a dictionary."""
    tf: Any = require("tensorflow", "export")
    form = tf.Module(name="gfkeras")
    # SavedModel saves only variables that are attributes of the module.
    form.weights = [variable.value for variable in model.variables]

    def serve(images: Any) -> dict[str, Any]:
        outputs = as_outputs(model(images, training=False))
        # SavedModel and both converters take the names of outputs from these operations.
        return {key: tf.identity(outputs[key], key) for key in OUTPUTS if key in outputs}

    signature = tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.float32, INPUT)
    form.serve = tf.function(serve, input_signature=[signature], autograph=False)
    return form


def exported_model(model: Any) -> keras.Model:
    """Returns the embedding model, without the head of a `FaceClassifier`."""
    if isinstance(model, FaceClassifier):
        model = model.model
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a keras.Model. Received: model={model!r}")
    return model
