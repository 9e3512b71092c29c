"""Loss scaling that all replicas agree on."""

from __future__ import annotations

from typing import Any

import keras

from gfkeras.layers.replica import on_all_replicas

# Never doubled: Keras counts the steps in an int32.
NEVER = 2**31 - 1


@keras.saving.register_keras_serializable("gfkeras")
class LossScaling(keras.optimizers.LossScaleOptimizer):
    """Scales the loss for float16, and skips steps whose gradients are not finite.

    Keras looks at the gradients of the first replica only, before they are summed: an
    infinity on another replica would reach the weights of all. Here a step is skipped
    where any replica's gradients are not finite.

    Args: as of `keras.optimizers.LossScaleOptimizer`. `initial_scale=1.0` with
        `dynamic_growth_steps=NEVER` skips steps without scaling: each skipped step halves
        the scale, a power of two, which changes no bit of the others.

    Example:
        optimizer = LossScaling(keras.optimizers.SGD(0.1, momentum=0.9))
    """

    def check_finite(self, grads: Any) -> Any:
        return on_all_replicas(super().check_finite(grads))
