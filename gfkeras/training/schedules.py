"""Learning-rate schedules."""

from collections.abc import Callable
from typing import Any, Self

import keras
from keras import ops
from keras.optimizers import schedules

from gfkeras.training.recipe_sections import ScheduleSection


def _constant(rate: float, *_: int) -> Any:
    return rate


def _step(
    rate: float, _: int, steps_per_epoch: int, milestones: list[float], unit: str, factor: float
) -> Any:
    # Milestones can be fractions of epochs.
    steps = steps_per_epoch if unit == "epochs" else 1
    boundaries = [round(milestone * steps) for milestone in milestones]
    values = [rate * factor**i for i in range(len(boundaries) + 1)]
    return schedules.PiecewiseConstantDecay(boundaries, values)


def _cosine(rate: float, epochs: int, steps_per_epoch: int) -> Any:
    return schedules.CosineDecay(rate, decay_steps=epochs * steps_per_epoch)


def _polynomial(
    rate: float, epochs: int, steps_per_epoch: int, power: float, final_factor: float
) -> Any:
    return schedules.PolynomialDecay(rate, epochs * steps_per_epoch, rate * final_factor, power)


# Each function builds a schedule from rate, epochs, steps per epoch and the keys of the schedule.
SCHEDULES: dict[str, Callable[..., Any]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "polynomial": _polynomial,
}


@keras.saving.register_keras_serializable("gfkeras")
class Warmup(schedules.LearningRateSchedule):
    """A schedule that is multiplied by (step + 1) / steps during the first `steps` steps.

    Large margins and scales make the first updates of a face network very large. A few hundred
    small steps keep batch normalisation and class centers stable.

    Args:
        schedule: a schedule or a constant rate.
        steps: number of warm-up steps. 0 for no warm-up.

    Raises:
        ValueError: if `steps` is negative.
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
        if isinstance(schedule, schedules.LearningRateSchedule):
            schedule = keras.saving.serialize_keras_object(schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        schedule = config["schedule"]
        if isinstance(schedule, dict):
            schedule = keras.saving.deserialize_keras_object(schedule)
        return cls(schedule, config["steps"])


def build_schedule(
    section: ScheduleSection, rate: float, epochs: int, steps_per_epoch: int
) -> Warmup:
    """Builds the schedule of [schedule] from the learning rate of [optimizer]."""
    schedule = SCHEDULES[section.name](rate, epochs, steps_per_epoch, **section.arguments)
    return Warmup(schedule, round(section.warmup_epochs * steps_per_epoch))
