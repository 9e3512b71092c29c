"""Variables turned into constants, as converters want them."""

from __future__ import annotations

from typing import Any


def frozen(tf: Any, form: Any) -> Any:
    """The export form with its weights as constants.

    Both converters otherwise leave some reads of variables in the graph: LiteRT then
    reads every weight anew for each image, which makes it six times slower.

    Args:
        tf: TensorFlow.
        form: what `export_form` returned.

    Returns:
        A `tf.Module` whose `serve` takes and returns the same.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    traced = form.serve.get_concrete_function()
    names = sorted(traced.structured_outputs)
    constant = convert_variables_to_constants_v2(traced)
    module = tf.Module(name="gfkeras")

    def serve(images: Any) -> dict[str, Any]:
        outputs = constant(images)
        # tf.nest, which flattened the dictionary, orders it by key.
        if not isinstance(outputs, dict):
            outputs = dict(zip(names, outputs, strict=True))
        return {name: tf.identity(outputs[name], name) for name in traced.structured_outputs}

    module.serve = tf.function(serve, input_signature=form.serve.input_signature, autograph=False)
    return module
