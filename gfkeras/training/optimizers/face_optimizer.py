"""Base class of the optimizers, with weight decay and row updates that Keras does not have."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from gfkeras.errors import in_range, one_of, positive
from gfkeras.layers.replica import global_sum, num_replicas
from gfkeras.layers.rows import SampledRows, chunks, gather_rows, is_gradient, is_table, set_rows


def keras_cannot_accumulate() -> bool:
    """Returns whether Keras cannot accumulate gradients here, such as under MirroredStrategy.

    Keras 3.15 decides inside each replica whether to accumulate or to update. Under these
    strategies, TensorFlow does not allow an update inside a branch of a replica.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    internal = tf.__internal__.distribute
    return tf.distribute.has_strategy() and not internal.strategy_supports_no_merge_call()


def accumulate_or_update(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    """Accumulates gradients and updates the variables every `gradient_accumulation_steps` calls.

    Each replica calls it, but the decision is made once for all of them. Each replica accumulates
    its own gradients, and only the sums are exchanged.
    """
    import tensorflow as tf

    count = optimizer.gradient_accumulation_steps
    sums = [optimizer.accumulated_gradient(variable).value for variable in variables]

    def update(gradients: list[Any]) -> None:
        means = [(g + total) / count for g, total in zip(gradients, sums, strict=True)]
        optimizer.update_with(means, variables)

    def in_all_replicas(strategy: Any, gradients: list[Any]) -> None:
        def on_each(assign: Any, *arguments: Any) -> None:
            for total, *rest in zip(sums, *arguments, strict=True):
                strategy.extended.update(total, assign, args=tuple(rest), group=False)

        def add() -> None:
            on_each(lambda total, gradient: total.assign_add(gradient), gradients)

        def update_and_start_anew() -> None:
            strategy.extended.call_for_each_replica(update, args=(gradients,))
            on_each(lambda total: total.assign(tf.zeros_like(total)))

        steps = tf.cast(optimizer.steps_taken.value, tf.int64) + 1
        tf.cond(tf.equal(steps % count, 0), update_and_start_anew, add)

    # `merge_call` leaves the replicas, where TensorFlow allows the branch.
    tf.distribute.get_replica_context().merge_call(in_all_replicas, args=(gradients,))


DECAY_MODES = ("decoupled", "l2")
# Names of variables of batch normalisation, PReLU and biases.
NORM_AND_BIAS = ("gamma", "beta", "alpha", "bias")


class FaceOptimizer(keras.optimizers.Optimizer):
    """Adds two kinds of weight decay and updates of sampled rows to a Keras optimizer.

    A subclass inherits from this class first and then from a class of `keras.optimizers`. It
    defines the update of rows in `slots` and `updated`.

    Weight decay: "decoupled" subtracts lr·decay·w from w (AdamW, arXiv 1711.05101, and the only
    kind in Keras). "l2" adds decay·w to the gradient, like SGD in PyTorch and MXNet. Published
    recipes of face recognition mean this kind. For SGD without momentum, both are the same. With
    momentum, the l2 term is smoothed by it. Gradients are clipped before the l2 term is added, like
    in PyTorch. The gradient of the global batch is clipped, so a step does not depend on the number
    of replicas.

    Rows: if a table has `gfkeras.layers.rows.SampledRows` (the centers of `PartialFC`), only the
    drawn rows are read and written, with their weight decay and their momentum. The momentum of
    other rows does not change.

    Args:
        weight_decay: factor of the weight decay. None or 0 for no decay.
        weight_decay_mode: "decoupled" or "l2".
        decay_norm_and_bias: whether γ and β of batch normalisation, α of PReLU and biases decay
            too. Your call of `exclude_from_weight_decay` replaces this rule.
        kwargs: arguments of the Keras optimizer.

    Raises:
        ValueError: for an unknown mode or a negative decay. Building raises it for sampled rows
            with `gradient_accumulation_steps`, because each step draws other rows, and with
            `use_ema`, which would update all rows.
    """

    # `FaceClassifier` requires this attribute before it trains a `PartialFC`.
    updates_rows = True
    weight_decay: float | None

    def __init__(
        self,
        *,
        weight_decay: float | None = None,
        weight_decay_mode: str = "decoupled",
        decay_norm_and_bias: bool = False,
        **kwargs: Any,
    ):
        if weight_decay is not None:
            weight_decay = in_range("weight_decay", weight_decay, 0, float("inf"))
        super().__init__(weight_decay=weight_decay, **kwargs)
        self.weight_decay_mode = one_of("weight_decay_mode", weight_decay_mode, DECAY_MODES)
        self.decay_norm_and_bias = bool(decay_norm_and_bias)
        self._own_rule = False
        self._rate_factors: dict[int, float] = {}

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        self._own_rule = True
        super().exclude_from_weight_decay(var_list, var_names)

    def set_rate_factors(self, factors: Mapping[int, float]) -> None:
        """Sets factors of the learning rate by the position of a variable in `build`.

        Other variables have the factor 1. Decoupled weight decay is proportional to the learning
        rate, so the factors apply to it too. They are not part of the configuration and must be set
        again after deserialisation.

        Raises:
            ValueError: if a factor is not positive, or if `gradient_accumulation_steps` is set.
        """
        if factors and self.gradient_accumulation_steps:
            raise ValueError(
                "`gradient_accumulation_steps` must be None if layers have their own learning "
                f"rates. Received: gradient_accumulation_steps={self.gradient_accumulation_steps}"
            )
        self._rate_factors = {int(i): positive("factor", factor) for i, factor in factors.items()}

    def _rate_factor(self, variable: Any) -> float:
        return self._rate_factors.get(self._get_variable_index(variable), 1.0)

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        sampled = {i: v.sampled_rows for i, v in enumerate(variables) if is_gradient(v)}
        if sampled and self.gradient_accumulation_steps:
            raise ValueError(
                "`gradient_accumulation_steps` must be None with PartialFC, because each step "
                "draws other centers. Received: gradient_accumulation_steps="
                f"{self.gradient_accumulation_steps}"
            )
        if self.use_ema and self.gradient_accumulation_steps and keras_cannot_accumulate():
            raise ValueError(
                "`use_ema` must be False with `gradient_accumulation_steps` under this "
                "strategy of tf.distribute. Received: use_ema=True"
            )
        if sampled and self.use_ema:
            raise ValueError(
                "`use_ema` must be False with PartialFC, because the average would also change "
                "centers that are not drawn. Received: use_ema=True"
            )
        if not self.decay_norm_and_bias and not self._own_rule:
            # Variables are passed instead of names, because the update sees TensorFlow's variables,
            # which have other names.
            spared = [v for v in variables if v.name in NORM_AND_BIAS]
            super().exclude_from_weight_decay(var_list=spared)
        super().build(variables)
        # A bound method hides the rows from Keras, which would track their variables as its own.
        self._sampled_at = sampled.get

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Any:
        if is_gradient(reference_variable):
            # The update of rows uses the slot of the table itself.
            return None
        return super().add_variable_from_reference(reference_variable, name, initializer)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if trainable_variables is None:
            trainable_variables = self._trainable_variables
        variables = list(trainable_variables)
        if not self.built:
            with keras.name_scope(self.name):
                self.build(variables)
        # Tables are left out. Their gradient is missing or zero, and computing zeros for a large
        # table would take long.
        kept = [(g, v) for g, v in zip(grads, variables, strict=True) if not is_table(v)]
        super().apply([gradient for gradient, _ in kept], [variable for _, variable in kept])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        learning_rate = learning_rate * self._rate_factor(variable)
        rows = self._sampled_at(self._get_variable_index(variable))
        if rows is not None:
            self._update_rows(rows, gradient, learning_rate)
            return
        # Clipping happened before this call, so it does not include the l2 term.
        if self._has_decay("l2", variable):
            decay = ops.cast(self.weight_decay, variable.dtype)
            gradient = ops.cast(gradient, variable.dtype) + decay * variable
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        # Keras calls this for its own weight decay, which is the decoupled kind.
        if not self.weight_decay or self.weight_decay_mode != "decoupled":
            return
        by_factor: dict[float, list[Any]] = {}
        for variable in variables:
            if not is_gradient(variable):
                by_factor.setdefault(self._rate_factor(variable), []).append(variable)
        whole: float = self.weight_decay
        # Keras reads the decay from the attribute, so it is changed for each factor.
        try:
            for factor, group in by_factor.items():
                self.weight_decay = whole * factor
                super()._apply_weight_decay(group)
        finally:
            self.weight_decay = whole

    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        if self.gradient_accumulation_steps and keras_cannot_accumulate():
            accumulate_or_update(self, grads, trainable_variables)
        else:
            super()._backend_apply_gradients(grads, trainable_variables)

    @property
    def steps_taken(self) -> Any:
        """The number of calls of `apply`, a variable. `iterations` is the number of updates."""
        return self._iterations

    def accumulated_gradient(self, variable: Any) -> Any:
        """Returns the variable with the sum of a variable's gradients since the last update."""
        return self._accumulated_gradients[self._get_variable_index(variable)]

    def update_with(self, gradients: list[Any], variables: list[Any]) -> None:
        """Does one update with these gradients: clipping, weight decay, step."""
        gradients = self._clip_gradients(gradients)
        self._apply_weight_decay(variables)
        self._backend_update_step(gradients, variables, self.learning_rate)

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        if self.clipnorm is None and self.global_clipnorm is None and self.clipvalue is None:
            return grads
        # Keras clips the gradients of each replica and then adds them. The result would depend on
        # the number of replicas, so the global gradient is clipped instead.
        count = num_replicas()
        clipped = super()._clip_gradients(global_sum(grads))
        # Keras adds the gradients of all replicas later, so each keeps an equal part.
        return clipped if count == 1 else [gradient / count for gradient in clipped]

    def _has_decay(self, mode: str, variable: Any) -> bool:
        active = self.weight_decay and self.weight_decay_mode == mode
        return bool(active and self._use_weight_decay(variable))

    def _update_rows(self, rows: SampledRows, gradient: Any, learning_rate: Any) -> None:
        index = ops.cast(rows.index, "int32")
        variables = [rows.table, *self.slots(rows.table)]
        rate = ops.cast(learning_rate, "float32")
        # Parts of rows limit the memory for temporary copies.
        for start, stop in chunks(rows.index.shape[0]):
            part = index[start:stop]
            by_rows = ops.cast(gradient[start:stop], "float32")
            weights, *slots = [gather_rows(variable, part) for variable in variables]
            if self._has_decay("l2", rows.table):
                by_rows = by_rows + self.weight_decay * weights
            elif self._has_decay("decoupled", rows.table):
                weights = weights - weights * self.weight_decay * rate
            new = self.updated(weights, slots, by_rows, rate)
            for variable, values in zip(variables, new, strict=True):
                set_rows(variable, part, values)

    def slots(self, variable: Any) -> list[Any]:
        """Returns the optimizer's variables for a variable, such as its momentum."""
        raise NotImplementedError

    def updated(self, weights: Any, slots: list[Any], gradient: Any, rate: Any) -> list[Any]:
        """Returns new weights and new slots of rows after one step without weight decay.

        Weights, gradient and the rows of each slot are (R, ...) float32.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight_decay_mode": self.weight_decay_mode,
            "decay_norm_and_bias": self.decay_norm_and_bias,
        }
