"""The base of the optimizers: what they add to Keras' own."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from gfkeras.errors import in_range, one_of, positive
from gfkeras.layers.replica import global_sum, num_replicas
from gfkeras.layers.rows import SampledRows, chunks, gather_rows, is_gradient, is_table, set_rows


def keras_cannot_accumulate() -> bool:
    """Whether a branch may not hold an update here: under MirroredStrategy and the like.

    Keras 3.15 chooses between adding up and updating within a replica, where TensorFlow
    allows no update inside of a branch.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    internal = tf.__internal__.distribute
    return tf.distribute.has_strategy() and not internal.strategy_supports_no_merge_call()


def accumulate_or_update(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    """Adds the gradients up or, every `gradient_accumulation_steps` times, updates.

    Called on each replica; the branch is taken once for all of them. Each replica adds up its
    own gradients, and only the sums are exchanged.
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

    tf.distribute.get_replica_context().merge_call(in_all_replicas, args=(gradients,))


DECAY_MODES = ("decoupled", "l2")
# Names of the variables of batch normalisation, PReLU and biases.
NORM_AND_BIAS = ("gamma", "beta", "alpha", "bias")


class FaceOptimizer(keras.optimizers.Optimizer):
    """Adds to a Keras optimizer: kinds of weight decay, and updates of sampled rows.

    Stands before a class of `keras.optimizers` among the bases of a subclass, which says in
    `slots` and `updated` what becomes of rows.

    Weight decay: "decoupled" takes lr·decay·w from w (AdamW, arXiv 1711.05101, and Keras'
    only way); "l2" adds decay·w to the gradient, as PyTorch's and MXNet's SGD do and as face
    recognition's published recipes mean it. With SGD without momentum the two are the same,
    with momentum l2's is smoothed by it. The order is PyTorch's: gradients are clipped first,
    l2's share is added after and is not clipped. What is clipped is the gradient of the batch
    of all replicas, so that a step is the same on one and on several.

    Rows: of a table with `gfkeras.layers.rows.SampledRows` (the centers of `PartialFC`) only
    the rows drawn are read and written, with their weight decay and their rows of momentum.
    Momentum is lazy: rows that were not drawn keep theirs as it was.

    Args:
        weight_decay: None or 0 for none.
        weight_decay_mode: "decoupled" or "l2".
        decay_norm_and_bias: whether batch normalisation's γ and β, PReLU's α and biases decay
            too. `exclude_from_weight_decay` replaces this rule by one's own.
        kwargs: of the Keras optimizer.

    Raises:
        ValueError: for an unknown mode or a negative decay; when built on sampled rows
            together with `gradient_accumulation_steps`, whose steps draw other rows each, or
            with `use_ema`, which would update all rows.
    """

    # What `FaceClassifier` looks for before it trains a `PartialFC`.
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
        """Factors of the learning rate by the place of a variable in `build`; 1 for all others.

        Weight decay that is decoupled is multiplied by them as well, as it is by the learning
        rate. Not part of the configuration: whoever makes the optimizer sets them again.

        Raises:
            ValueError: for a factor that is not positive, or together with
                `gradient_accumulation_steps`.
        """
        if factors and self.gradient_accumulation_steps:
            raise ValueError(
                "Learning rates of their own for some layers need `gradient_accumulation_steps` "
                f"None. Received: gradient_accumulation_steps={self.gradient_accumulation_steps}"
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
                "`gradient_accumulation_steps` must be None with PartialFC, each step of which "
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
                "`use_ema` must be False with PartialFC, as an average of all centers is one "
                "of those that are not drawn too. Received: use_ema=True"
            )
        if not self.decay_norm_and_bias and not self._own_rule:
            # As a list, since TensorFlow's variables, which the update sees, have other names.
            spared = [v for v in variables if v.name in NORM_AND_BIAS]
            super().exclude_from_weight_decay(var_list=spared)
        super().build(variables)
        # In a function, where no optimizer looks for variables of its own.
        self._sampled_at = sampled.get

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Any:
        if is_gradient(reference_variable):
            # The table itself has the slot that the rows' update uses.
            return None
        return super().add_variable_from_reference(reference_variable, name, initializer)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if trainable_variables is None:
            trainable_variables = self._trainable_variables
        variables = list(trainable_variables)
        if not self.built:
            with keras.name_scope(self.name):
                self.build(variables)
        # A table has no gradient, or zeros of its size, which are not to be computed.
        kept = [(g, v) for g, v in zip(grads, variables, strict=True) if not is_table(v)]
        super().apply([gradient for gradient, _ in kept], [variable for _, variable in kept])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        learning_rate = learning_rate * self._rate_factor(variable)
        rows = self._sampled_at(self._get_variable_index(variable))
        if rows is not None:
            self._update_rows(rows, gradient, learning_rate)
            return
        if self._has_decay("l2", variable):
            decay = ops.cast(self.weight_decay, variable.dtype)
            gradient = ops.cast(gradient, variable.dtype) + decay * variable
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        # Keras' own, which is the decoupled one.
        if not self.weight_decay or self.weight_decay_mode != "decoupled":
            return
        by_factor: dict[float, list[Any]] = {}
        for variable in variables:
            if not is_gradient(variable):
                by_factor.setdefault(self._rate_factor(variable), []).append(variable)
        whole: float = self.weight_decay
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
        """Calls of `apply`, a variable; `iterations` counts the updates."""
        return self._iterations

    def accumulated_gradient(self, variable: Any) -> Any:
        """The sum of a variable's gradients since the last update, a variable."""
        return self._accumulated_gradients[self._get_variable_index(variable)]

    def update_with(self, gradients: list[Any], variables: list[Any]) -> None:
        """One update by these gradients: clipping, weight decay, step."""
        gradients = self._clip_gradients(gradients)
        self._apply_weight_decay(variables)
        self._backend_update_step(gradients, variables, self.learning_rate)

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        if self.clipnorm is None and self.global_clipnorm is None and self.clipvalue is None:
            return grads
        # Keras clips each replica's gradients, then sums: other than one replica's of the whole.
        count = num_replicas()
        clipped = super()._clip_gradients(global_sum(grads))
        return clipped if count == 1 else [gradient / count for gradient in clipped]

    def _has_decay(self, mode: str, variable: Any) -> bool:
        active = self.weight_decay and self.weight_decay_mode == mode
        return bool(active and self._use_weight_decay(variable))

    def _update_rows(self, rows: SampledRows, gradient: Any, learning_rate: Any) -> None:
        index = ops.cast(rows.index, "int32")
        variables = [rows.table, *self.slots(rows.table)]
        rate = ops.cast(learning_rate, "float32")
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
        """The optimizer's own variables beside a variable, of its shape."""
        raise NotImplementedError

    def updated(self, weights: Any, slots: list[Any], gradient: Any, rate: Any) -> list[Any]:
        """One step of some rows without weight decay: the new weights, then the new slots.

        Weights, gradient and the same rows of each of `slots` are (R, ...) float32.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight_decay_mode": self.weight_decay_mode,
            "decay_norm_and_bias": self.decay_norm_and_bias,
        }
