"""A training metric for the number of groups in use."""

from typing import Any

import keras
from keras import ops

from gfkeras.layers.replica import global_sum
from gfkeras.saving import Configured


@keras.saving.register_keras_serializable("gfkeras")
class GroupUsage(Configured, keras.metrics.Metric):
    """The effective number of groups over all faces since the last reset, on all replicas.

    This is exp(entropy) of the groups' shares, with the entropy in nats. It is K if K groups
    are used evenly, and 1 if one group gets every face. For `effective_groups`, a group's share
    is the fraction of faces for which it has the largest probability. For
    `effective_groups_soft`, it is the group's mean probability.

    Args:
        num_groups: K.

    Call arguments:
        group_logits: (B, K) float.

    Example:
        >>> from gfkeras.models.group_usage import GroupUsage
        >>> usage = GroupUsage(num_groups=4)
        >>> usage.update_state([[9.0, 0, 0, 0], [0, 9.0, 0, 0]])
        >>> round(float(usage.result()["effective_groups"]), 3)
        2.0
    """

    def __init__(self, num_groups: int, name: str = "group_usage", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.num_groups = num_groups
        # Sums instead of means, because sums can be added over replicas, workers and the two
        # parts of a resumed epoch.
        self.faces = self.add_variable((num_groups,), "zeros", dtype="float32", name="faces")
        self.probability = self.add_variable(
            (num_groups,), "zeros", dtype="float32", name="probability"
        )

    def update_state(self, group_logits: Any, sample_weight: Any = None) -> None:
        """Adds the faces of a batch. `sample_weight` is ignored."""
        logits = ops.cast(group_logits, "float32")
        chosen = ops.one_hot(ops.argmax(logits, axis=-1), self.num_groups, dtype="float32")
        self.faces.assign_add(ops.sum(chosen, axis=0))
        self.probability.assign_add(ops.sum(ops.softmax(logits, axis=-1), axis=0))

    def result(self) -> dict[str, Any]:
        """Returns the two scalars by name. Both are 1 before the first face."""
        faces, probability = global_sum(
            [ops.convert_to_tensor(self.faces), ops.convert_to_tensor(self.probability)]
        )
        return {
            "effective_groups": _effective(faces),
            "effective_groups_soft": _effective(probability),
        }


def _effective(counts: Any) -> Any:
    """Returns exp(−Σ p log p) for p = counts / Σ counts, with 0 log 0 = 0."""
    shares = counts / ops.maximum(ops.sum(counts), 1e-12)
    return ops.exp(-ops.sum(shares * ops.log(ops.maximum(shares, 1e-30))))
