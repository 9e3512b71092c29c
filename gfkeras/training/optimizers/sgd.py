"""The optimizer SGD."""

from typing import Any

import keras

from gfkeras.training.optimizers.face_optimizer import FaceOptimizer


@keras.saving.register_keras_serializable("gfkeras")
class SGD(FaceOptimizer, keras.optimizers.SGD):
    """`keras.optimizers.SGD` with two kinds of weight decay and updates of sampled rows.

    v ← momentum·v − lr·g and w ← w + v. With `nesterov`, w ← w + momentum·v − lr·g.

    Args:
        learning_rate: lr, a float or a schedule.
        momentum: factor of the previous step, in [0, 1).
        nesterov: whether to use Nesterov momentum.
        weight_decay: see `FaceOptimizer`.
        kwargs: arguments of `FaceOptimizer` and `keras.optimizers.SGD`, such as `clipnorm` (for
            each variable), `global_clipnorm` (for all), `clipvalue`, `gradient_accumulation_steps`.

    Example:
        >>> from gfkeras.training.optimizers import SGD
        >>> optimizer = SGD(0.1, momentum=0.9, weight_decay=5e-4, weight_decay_mode="l2")
        >>> optimizer.decay_norm_and_bias
        False
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            **kwargs,
        )

    def slots(self, variable: Any) -> list[Any]:
        return [self.momentums[self._get_variable_index(variable)]] if self.momentum else []

    def updated(self, weights: Any, slots: list[Any], gradient: Any, rate: Any) -> list[Any]:
        # These are the formulas of keras.optimizers.SGD, applied to some rows.
        step = gradient * rate
        if not slots:
            return [weights - step]
        velocity = self.momentum * slots[0] - step
        if self.nesterov:
            return [weights + self.momentum * velocity - step, velocity]
        return [weights + velocity, velocity]
