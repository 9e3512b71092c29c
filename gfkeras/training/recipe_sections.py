"""Sections of a recipe, with their keys, types and defaults."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_serializer,
    model_validator,
)


# In Python, True is the integer 1, so the next two functions exclude bools.
def _shared_dim(value: Any) -> Any:
    if value == "none" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('expected an integer of at least 1 or "none"')


def _devices(value: Any) -> Any:
    count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    names = isinstance(value, list) and value and all(isinstance(name, str) for name in value)
    if count or names:
        return value
    raise ValueError('expected a number of at least 1 or a list of names such as "GPU:0"')


def _jit_compile(value: Any) -> Any:
    if isinstance(value, bool) or value == "auto":
        return value
    raise ValueError('expected true, false or "auto"')


def _amount(value: Any) -> Any:
    share = isinstance(value, float) and 0 < value <= 1
    if share or (isinstance(value, int) and not isinstance(value, bool) and value > 1):
        return value
    raise ValueError("expected a share above 0 and up to 1.0, or a number of images from 2")


def _folder_name(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]+", value):
        return value
    raise ValueError("expected a name of letters, digits, - and _")


class Section(BaseModel):
    """A table of a recipe. Unknown keys are errors, and types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NamedSection(Section):
    """A table with the `name` of a class in gfkeras and the arguments of that class."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments without the name."""
        return dict(self.model_extra or {})


class DataSection(Section):
    """[data]: selection of identities, and simple changes of the images.

    The last `holdout_identities` are for verification. Identities with fewer than `min_images`
    images are left out. Images that are not aligned faces of 112×112 are left out, or scaled to fit
    with `resize`. Training images are mirrored with `flip`, and moved by up to `shift` pixels.
    `amount` trains on a part of the people: a share such as 0.1, or at least that number of images.
    The seed chooses them, and a smaller amount is a part of a larger one. An epoch has as many
    steps as with all people.
    """

    holdout_identities: NonNegativeInt = 0
    min_images: PositiveInt = 1
    resize: bool = False
    flip: bool = True
    shift: NonNegativeInt = 0
    amount: Annotated[int | float | None, BeforeValidator(_amount)] = None


class ModelSection(Section):
    """[model]: GroupFace, or a plain backbone with its embedding.

    With `init`, training starts from existing weights: the name of a preset, the folder of a run or
    of a model, or a file that `gfkeras zoo import` reads. The backbone is that of `init`. The
    shared FC, the instance FC and the layers of the groups are taken too if they exist and fit the
    other keys. All others start fresh, and the notes of the run name them. Without other keys, a
    backbone gets a GroupFace head that first returns its embedding, and a GroupFace is trained
    further.

    `freeze` lists layers that are not trained, such as "backbone", "backbone/stage1_*" and
    "instance_*". The * matches any text.
    """

    init: str | None = None
    freeze: list[str] = Field(default_factory=list)
    name: Literal["GroupFace", "Backbone"] = "GroupFace"
    embedding_dim: PositiveInt = 512
    num_groups: PositiveInt | None = None
    shared_dim: Annotated[int | Literal["none"] | None, BeforeValidator(_shared_dim)] = None
    group_dim: PositiveInt | None = None
    mode: Literal["soft", "hard"] | None = None
    combine: Literal["add", "concat"] | None = None
    hard_gradient: Literal["straight-through", "stopped"] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    group_initializer: Literal["glorot_uniform", "zeros"] | None = None
    group_scale: NonNegativeFloat | None = None
    backbone: NamedSection = Field(default_factory=lambda: NamedSection(name="MobileFaceNet"))

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        if self.name == "Backbone" and (given := list(self.group_arguments)):
            raise ValueError(f'expected `{given[0]}` only with name = "GroupFace"')
        return self

    @model_serializer(mode="wrap")
    def _without_what_init_brings(self, serialize: Any) -> dict[str, Any]:
        values = serialize(self)
        if self.init is not None:
            # When the recipe is read again, these defaults would contradict `init`.
            for key in {"backbone", "embedding_dim"} - self.model_fields_set:
                values.pop(key, None)
        return values

    @property
    def group_arguments(self) -> dict[str, Any]:
        """The arguments of GroupFace in the recipe."""
        names = (
            "num_groups", "shared_dim", "group_dim", "mode", "combine", "hard_gradient", "dropout",
            "group_initializer", "group_scale",
        )  # fmt: skip
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if given.get("shared_dim") == "none":
            given["shared_dim"] = None
        return given


class TeacherSection(Section):
    """[teacher]: the folder of a trained model to learn from, such as `best/` of a run."""

    model: str


class OptimizerSection(Section):
    """[optimizer]: an optimizer of `gfkeras.training.optimizers`.

    `weight_decay_mode` is "decoupled", w ← w − lr·decay·w, or "l2", g ← g + decay·w before
    momentum. One of `clipnorm` (norm of each variable), `global_clipnorm` (norm of all variables)
    and `clipvalue` can clip the gradients. `accumulate_steps` is the number of batches per update.
    `learning_rate_factors` maps patterns of layer names to factors of the learning rate.
    """

    name: Literal["SGD", "Adam", "AdamW"] = "SGD"
    learning_rate: PositiveFloat = 0.02
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegativeFloat = 5e-4
    weight_decay_mode: Literal["decoupled", "l2"] = "decoupled"
    decay_norm_and_bias: bool = False
    clipnorm: PositiveFloat | None = None
    global_clipnorm: PositiveFloat | None = None
    clipvalue: PositiveFloat | None = None
    accumulate_steps: PositiveInt = 1
    learning_rate_factors: dict[str, PositiveFloat] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        if self.learning_rate_factors and self.accumulate_steps > 1:
            raise ValueError(
                "expected accumulate_steps = 1 with `learning_rate_factors`. "
                f"Received: {self.accumulate_steps}"
            )
        names = ("clipnorm", "global_clipnorm", "clipvalue")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"expected one of `{'`, `'.join(names)}` at most. Received: {given}")
        return self


# The keys of each schedule. All of them also have `warmup_epochs`.
SCHEDULE_KEYS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "step": ("milestones", "unit", "factor"),
    "cosine": (),
    "polynomial": ("power", "final_factor"),
}


class ScheduleSection(Section):
    """[schedule]: the learning rate at each step, from the learning rate r of [optimizer].

    With T steps in total and t steps done:

    - "constant": r.
    - "step": r·factor^n after n of the `milestones` (ArcFace, GroupFace). Their `unit` is "epochs"
      or "steps".
    - "cosine": r·(1 + cos(π·t/T))/2 (arXiv 1608.03983), down to 0.
    - "polynomial": (r − e)·(1 − t/T)^power + e with e = r·final_factor (the code of Partial FC has
      power 2 and e = 0).

    With every schedule, `warmup_epochs` scales the first steps by (t + 1)/warm-up steps
    (arXiv 1706.02677). A key of another schedule is an error.
    """

    name: Literal["constant", "step", "cosine", "polynomial"] = "constant"
    warmup_epochs: NonNegativeFloat = 0.0
    milestones: list[PositiveFloat] = Field(default_factory=list)
    unit: Literal["epochs", "steps"] = "epochs"
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    power: PositiveFloat = 2.0
    final_factor: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def arguments(self) -> dict[str, Any]:
        """The values of the keys of this schedule."""
        return {key: getattr(self, key) for key in SCHEDULE_KEYS[self.name]}

    @model_validator(mode="after")
    def _keys_fit_the_schedule(self) -> Self:
        for owner, keys in SCHEDULE_KEYS.items():
            for key in keys:
                if owner != self.name and key in self.model_fields_set:
                    taken = ", ".join((*SCHEDULE_KEYS[self.name], "warmup_epochs"))
                    raise ValueError(
                        f"`{key}` belongs to the schedule {owner!r}; {self.name!r} takes {taken}"
                    )
        if self.name == "step" and not self.milestones:
            raise ValueError('expected `milestones`, epochs or steps, with name = "step"')
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"expected rising `milestones`. Received: {self.milestones}")
        return self

    @model_serializer(mode="wrap")
    def _without_keys_of_other_schedules(self, serialize: Any) -> dict[str, Any]:
        kept = {"name", "warmup_epochs", *SCHEDULE_KEYS[self.name]}
        return {key: value for key, value in serialize(self).items() if key in kept}


class TrainingSection(Section):
    """[training]: epochs, batches, devices and checkpoints.

    - `steps`: number of steps, instead of `epochs`. It is rounded to whole epochs.
    - `batch_size`: global batch size, of all replicas together.
    - `images_per_identity`: K puts `batch_size` / K identities with K images each into a batch
      (`gfkeras.data.IdentitySampler`). By default a batch has any images.
    - `strategy`: "none" uses one device. "mirrored" uses all visible GPUs, or `devices` of them, a
      number or names such as ["GPU:0", "GPU:1"]. "multi-worker" uses the processes in the
      environment variable TF_CONFIG (TensorFlow).
    - `model_parallel`: number of devices that share the class centers (JAX).
    - `synchronized_batch_norm`: whether batch normalisation uses statistics of the global batch.
      The result then does not depend on the number of replicas.
    - `jit_compile`: whether XLA compiles the whole step. "auto" is true on GPUs and on JAX.
    - `checkpoint_steps`: number of steps between checkpoints for resuming. There is also one after
      each epoch.
    - `nonfinite`: "stop" ends the run if the loss is not finite. "skip" skips such steps.
    - `patience`: number of verifications (or epochs, without held-out identities) without a better
      value after which the run ends. By default it does not end early.
    - `workers`: number of threads that load images.
    """

    epochs: PositiveInt = 20
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 64
    images_per_identity: PositiveInt | None = None
    strategy: Literal["none", "mirrored", "multi-worker"] = "none"
    devices: Annotated[int | list[str] | None, BeforeValidator(_devices)] = None
    model_parallel: PositiveInt = 1
    synchronized_batch_norm: bool = True
    jit_compile: Annotated[bool | Literal["auto"], BeforeValidator(_jit_compile)] = "auto"
    checkpoint_steps: PositiveInt = 1000
    nonfinite: Literal["stop", "skip"] = "stop"
    patience: PositiveInt | None = None
    workers: PositiveInt = 1

    @model_validator(mode="after")
    def _epochs_or_steps(self) -> Self:
        if self.steps is not None and "epochs" in self.model_fields_set:
            raise ValueError(
                "takes `epochs` or `steps`, not both. "
                f"Received: epochs={self.epochs}, steps={self.steps}"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_epochs_beside_steps(self, serialize: Any) -> dict[str, Any]:
        values = serialize(self)
        if self.steps is not None:
            values.pop("epochs", None)
        return values

    @model_validator(mode="after")
    def _batches_hold_whole_identities(self) -> Self:
        images = self.images_per_identity
        # A batch with a single identity has no negative pairs for a loss.
        if images and (self.batch_size % images or self.batch_size == images):
            raise ValueError(
                "`batch_size` must be a multiple of `images_per_identity`, for two identities or "
                f"more. Received: batch_size={self.batch_size}, images_per_identity={images}"
            )
        return self


class MiningSection(Section):
    """[mining]: triplets mined offline with the newest weights (FaceNet, section 3.2).

    An epoch has `every_steps` steps, and triplets are mined before each epoch. `negatives` are
    "semi-hard" or "hard", see `gfkeras.training.offline_mining`. With `images`, each mining looks
    at random people with at least this many images together, instead of all. The recipe needs a
    [[loss]] TripletLoss with mining = "listed".
    """

    every_steps: PositiveInt = 1000
    negatives: Literal["semi-hard", "hard"] = "semi-hard"
    images: PositiveInt | None = None


class StageSection(NamedSection):
    """[[stage]]: a stage of the training, and the tables and keys that it changes in the recipe.

    A run with stages trains them in order, each from the weights of the one before. `name` is the
    name of its folder. A table whose `name` differs from the recipe's replaces it, such as another
    head. An empty table or a list replaces too. Other tables change single keys.
    """

    name: Annotated[str, BeforeValidator(_folder_name)]


class EvaluationSection(Section):
    """[evaluation]: verification on the held-out identities during training."""

    every_epochs: PositiveInt = 1
    pairs: PositiveInt = 3000
