"""AdamW."""

from __future__ import annotations

from typing import Any

import keras

from gfkeras.training.optimizers.adam import Adam


@keras.saving.register_keras_serializable("gfkeras")
class AdamW(Adam):
    """`Adam` (arXiv 1711.05101) with decoupled weight decay by default.

    Args:
        learning_rate: lr, a float or a schedule.
        weight_decay: as of `FaceOptimizer`.
        kwargs: of `Adam`.

    Example:
        >>> from gfkeras.training.optimizers import AdamW
        >>> AdamW(0.001, weight_decay=0.05).weight_decay
        0.05
    """

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004, **kwargs: Any):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
