"""The graph that is exported: images in, named outputs out, as little work as possible."""

from collections.abc import Sequence
from typing import Any

import keras

from gfkeras.errors import one_of, positive_int, require
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
    """A `tf.Module` with one method, `serve`, ready for SavedModel and the converters.

    Functional models are prepared (`gfkeras.export.preparation`), others taken as they are. The
    hard mode gathers the chosen group's weights and multiplies by them alone; the soft mode is one
    product (p ⊗ x)·W without K representations at once.

    `serve(images)` takes (B, H, W, 3) float32, 0…255, and returns the dictionary of `embedding`,
    `group_feature` and `group_logits`; a model without groups has only the first.

    Args:
        model, mode, batch_size: as of `export_model`.
        steps: of the preparation.

    Raises:
        ValueError: for a model or mode that does not fit, or another backend than TensorFlow.
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
    try:
        prepared = prepare(model, mode, steps)
    except NotRewritable:
        prepared = float32_model(model)
    return form_of(prepared, batch_size)


def form_of(model: keras.Model, batch_size: int | None = None) -> Any:
    """The `tf.Module` of a prepared model, from images to an embedding or an artefact's outputs."""
    tf: Any = require("tensorflow", "export")
    form = tf.Module(name="gfkeras")
    # What the graph reads must be reachable from the module, or it is not saved.
    form.weights = [variable.value for variable in model.variables]

    def serve(images: Any) -> dict[str, Any]:
        outputs = as_outputs(model(images, training=False))
        # A name for each, which SavedModel keeps and both converters read.
        return {key: tf.identity(outputs[key], key) for key in OUTPUTS if key in outputs}

    signature = tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.float32, INPUT)
    form.serve = tf.function(serve, input_signature=[signature], autograph=False)
    return form


def exported_model(model: Any) -> keras.Model:
    """The model that embeds, out of what may be a training model."""
    if isinstance(model, FaceClassifier):
        model = model.model
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a keras.Model. Received: model={model!r}")
    return model
