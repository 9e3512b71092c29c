"""The optimizers Adam and AdamW."""

from typing import Any

import keras
from keras import ops

from gfkeras.training.optimizers.face_optimizer import FaceOptimizer


@keras.saving.register_keras_serializable("gfkeras")
class Adam(FaceOptimizer, keras.optimizers.Adam):
    """`keras.optimizers.Adam` with two kinds of weight decay and updates of sampled rows.

    The moments of a sampled row change only when the row is drawn, but the bias correction counts
    all steps.

    Args:
        learning_rate: a float or a schedule.
        beta_1: decay rate of the first moment.
        beta_2: decay rate of the second moment.
        epsilon: added to the square root of the second moment.
        weight_decay: see `FaceOptimizer`.
        kwargs: arguments of `FaceOptimizer` and `keras.optimizers.Adam`. `amsgrad` cannot be used
            with sampled rows.

    Example:
        >>> from gfkeras.training.optimizers import Adam
        >>> Adam(0.001, global_clipnorm=5.0).weight_decay_mode
        'decoupled'
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            **kwargs,
        )

    def slots(self, variable: Any) -> list[Any]:
        if self.amsgrad:
            raise ValueError("`amsgrad` must be False with PartialFC. Received: amsgrad=True")
        position = self._get_variable_index(variable)
        return [self._momentums[position], self._velocities[position]]

    def updated(self, weights: Any, slots: list[Any], gradient: Any, rate: Any) -> list[Any]:
        # These are the formulas of keras.optimizers.Adam, applied to some rows.
        step = ops.cast(self.iterations + 1, "float32")
        first = slots[0] + (gradient - slots[0]) * (1 - self.beta_1)
        second = slots[1] + (ops.square(gradient) - slots[1]) * (1 - self.beta_2)
        correction = ops.sqrt(1 - ops.power(self.beta_2, step)) / (1 - ops.power(self.beta_1, step))
        weights = weights - first * (rate * correction) / (ops.sqrt(second) + self.epsilon)
        return [weights, first, second]


@keras.saving.register_keras_serializable("gfkeras")
class AdamW(Adam):
    """`Adam` with decoupled weight decay by default (arXiv 1711.05101).

    Args:
        learning_rate: a float or a schedule.
        weight_decay: see `FaceOptimizer`.
        kwargs: arguments of `Adam`.

    Example:
        >>> from gfkeras.training.optimizers import AdamW
        >>> AdamW(0.001, weight_decay=0.05).weight_decay
        0.05
    """

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004, **kwargs: Any):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
