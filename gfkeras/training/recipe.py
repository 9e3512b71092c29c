"""Training recipes: a TOML file, checked before anything is built."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field, NonNegativeInt, ValidationError

from gfkeras.toml_errors import readable
from gfkeras.training.recipe_source import (
    assign,
    built_in_names,
    copied,
    read_toml,
    split_setting,
)
from gfkeras.training.sections import (
    DataSection,
    EvaluationSection,
    ModelSection,
    NamedSection,
    OptimizerSection,
    ScheduleSection,
    Section,
    TeacherSection,
    TrainingSection,
)

_BUILT_IN = resources.files("gfkeras.training") / "recipes"


class Recipe(Section):
    """Everything a training run is made of but the data.

    The keys of each table are those of the classes in `gfkeras.training.sections`;
    `[model.backbone]`, `[head]` and each `[[loss]]` take a `name` and the arguments of
    that class, such as `margin` of ArcFace. The losses are added to the head's, each
    times its `weight`; `[head]` with the name "none" leaves the head out. Each
    `[[augmentation]]` takes the `name` of a layer in `gfkeras.data.augmentation.catalog`
    and its arguments; they follow flip and shift, in the order in which they are written.

    Example:
        recipe = Recipe.read("orl", settings=["training.epochs=3"])
        recipe.write("recipe.toml")
    """

    seed: NonNegativeInt = 0
    dtype_policy: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    data: DataSection = Field(default_factory=DataSection)
    augmentation: list[NamedSection] = Field(default_factory=list)
    model: ModelSection = Field(default_factory=ModelSection)
    head: NamedSection = Field(default_factory=lambda: NamedSection(name="ArcFace"))
    loss: list[NamedSection] = Field(default_factory=list)
    teacher: TeacherSection | None = None
    optimizer: OptimizerSection = Field(default_factory=OptimizerSection)
    schedule: ScheduleSection = Field(default_factory=ScheduleSection)
    training: TrainingSection = Field(default_factory=TrainingSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)

    @classmethod
    def read(cls, source: str | os.PathLike[str], settings: Iterable[str] = ()) -> Recipe:
        """Reads a recipe file, or one that comes with gfkeras.

        Args:
            source: a TOML file, or the name of a built-in recipe (`Recipe.built_in()`).
            settings: changes as `key=value` with dotted keys: `training.epochs=3`,
                `loss.0.weight=0.2`. Values are TOML; a bare word is a string.

        Raises:
            ValueError: in one line, for a file that is missing or not TOML, an unknown
                key or name (with the nearest right one) or a value of a wrong type.
        """
        return cls.parse(read_toml(source, "recipe", _BUILT_IN), settings, str(source))

    @classmethod
    def parse(
        cls,
        values: Mapping[str, Any],
        settings: Iterable[str] | Mapping[str, Any] = (),
        source: str = "recipe",
    ) -> Recipe:
        """Makes a recipe of nested dictionaries, changed by `settings`.

        Args:
            values: the tables of a recipe file.
            settings: as of `read`, or values by their dotted keys.
            source: what messages begin with.

        Raises:
            ValueError: as `read`.
        """
        changed = copied(values)
        if not isinstance(settings, Mapping):
            settings = dict(split_setting(setting) for setting in settings)
        for key, value in settings.items():
            assign(changed, key, value)
        try:
            recipe = cls.model_validate(changed)
        except ValidationError as error:
            raise ValueError(f"{source}: {readable(error, cls)}") from None
        # Building needs Keras, so the names of classes and arguments are checked there;
        # the import is here to keep reading a recipe cheap until it is complete.
        from gfkeras.training.build import check_names

        try:
            check_names(recipe)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        return recipe

    @staticmethod
    def built_in() -> list[str]:
        """The names of the recipes that come with gfkeras."""
        return built_in_names(_BUILT_IN)

    def to_toml(self) -> str:
        """The recipe with every default written out; `Recipe.read` gives it back."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_toml()` into a file."""
        Path(path).write_text(self.to_toml(), encoding="utf-8")
