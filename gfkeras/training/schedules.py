"""A learning rate that rises linearly at first."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("gfkeras")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, scaled by (step + 1) / steps until `steps` are done.

    Large margins and scales make the first updates of a face network violent; a few
    hundred small steps keep batch normalisation and class centers sane.

    Args:
        schedule: a schedule, or a constant rate.
        steps: how long the rate rises; 0 for no warm-up.
    """

    def __init__(self, schedule: Any, steps: int):
        if steps < 0:
            raise ValueError(f"`steps` must be at least 0. Received: steps={steps!r}")
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        rate = self.schedule(step) if callable(self.schedule) else self.schedule
        if not self.steps:
            return ops.convert_to_tensor(rate, "float32")
        progress = (ops.cast(step, "float32") + 1.0) / self.steps
        return ops.cast(rate, "float32") * ops.minimum(progress, 1.0)

    def get_config(self) -> dict[str, Any]:
        schedule = self.schedule
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            schedule = keras.saving.serialize_keras_object(schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Warmup:
        schedule = config["schedule"]
        if isinstance(schedule, dict):
            schedule = keras.saving.deserialize_keras_object(schedule)
        return cls(schedule, config["steps"])
