"""Training recipes: a TOML file, checked before anything is built."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field, NonNegativeInt, ValidationError

from gfkeras.errors import unknown_name
from gfkeras.toml_errors import readable
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
        return cls.parse(_read_toml(source), settings, str(source))

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], settings: Iterable[str] = (), source: str = "recipe"
    ) -> Recipe:
        """Makes a recipe of nested dictionaries, changed by `settings` as in `read`.

        Raises:
            ValueError: as `read`.
        """
        changed = _copied(values)
        for setting in settings:
            _apply(changed, setting)
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
        return sorted(
            entry.name.removesuffix(".toml")
            for entry in _BUILT_IN.iterdir()
            if entry.name.endswith(".toml")
        )

    def to_toml(self) -> str:
        """The recipe with every default written out; `Recipe.read` gives it back."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_toml()` into a file."""
        Path(path).write_text(self.to_toml(), encoding="utf-8")


def _read_toml(source: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(source)
    name = os.fspath(source)
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
        elif path.suffix == ".toml" or os.sep in name or path.is_dir():
            reason = "is a folder" if path.is_dir() else "does not exist"
            raise ValueError(
                f"`recipe` must be a TOML file or the name of a built-in recipe "
                f"({', '.join(Recipe.built_in())}). Received: {name!r}, which {reason}"
            )
        elif name in Recipe.built_in():
            text = (_BUILT_IN / f"{name}.toml").read_text(encoding="utf-8")
        else:
            raise unknown_name("recipe", name, Recipe.built_in())
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not a text file in UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} is not valid TOML: {error}") from error


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _apply(values: dict[str, Any], setting: str) -> None:
    """Sets one `a.b=value` in nested dictionaries and lists."""
    key, equals, text = setting.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ValueError(f"A setting must look like a.b=value. Received: {setting!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    place: Any = values
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise ValueError(
                    f"Setting {setting!r}: `{'.'.join(parts[:depth])}` has {len(place)} entries, "
                    f"counted from 0. Received: {part!r}"
                )
            index: Any = int(part)
        elif isinstance(place, dict):
            index = part
            if not last:
                place.setdefault(part, {})
        else:
            raise ValueError(
                f"Setting {setting!r}: `{'.'.join(parts[:depth])}` is a value, not a table"
            )
        if last:
            place[index] = value
        place = place[index]
