"""Training recipes."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import Field, NonNegativeInt, ValidationError, model_validator

from gfkeras.backend import load_keras
from gfkeras.errors import unknown_name
from gfkeras.files import settings_text
from gfkeras.text_lists import is_count
from gfkeras.toml_errors import parsed_toml, readable
from gfkeras.training import recipe_sections as sections


def built_in_names(folder: Traversable) -> list[str]:
    """Returns the names of the TOML files in a folder of gfkeras."""
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_toml(source: str | os.PathLike[str], kind: str, folder: Traversable) -> dict[str, Any]:
    """Reads the tables of a TOML file, or of the built-in file with that name in `folder`.

    `kind` is the name of the file in messages, such as "recipe".

    Raises:
        ValueError: in one line, if the file is missing or is not TOML, or if the name is unknown.
            The message suggests a similar name.
    """
    path, name, known = Path(source), os.fspath(source), built_in_names(folder)
    try:
        if path.is_file():
            text = settings_text(path)
        elif name in known:
            # Also if the user has a folder of that name, such as the data set "lfw".
            text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        elif path.suffix == ".toml" or os.sep in name or path.is_dir():
            reason = (
                "is a folder"
                if path.is_dir()
                else "is not a regular file"
                if path.exists()
                else "does not exist"
            )
            raise ValueError(
                f"`{kind}` must be a TOML file or the name of a built-in {kind} "
                f"({', '.join(known)}). Received: {name!r}, which {reason}"
            )
        else:
            raise unknown_name(kind, name, known)
        return parsed_toml(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not a text file in UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{name} is nested too deeply") from error


def copied(value: Any) -> Any:
    """Returns a deep copy of nested tables and lists."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def split_setting(setting: str) -> tuple[str, Any]:
    """Splits `a.b=value` into key and value. The value is TOML, or a string without quotes."""
    key, equals, text = setting.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ValueError(f"A setting must look like a.b=value. Received: {setting!r}")
    try:
        # A key with many dots is as deep as a value.
        parsed_toml(f"{'.'.join(['part'] * len(key.split('.')))} = 0")
        return key, parsed_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text.strip()
    except RecursionError as error:
        raise ValueError(f"The setting {setting[:60]!r}… is nested too deep") from error


def assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value of a dotted key in nested tables and lists.

    Raises:
        ValueError: if a part of the key names a value instead of a table, or an index is too large.
    """
    parts = [part.strip() for part in key.split(".")]
    place: Any = values
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(place, list):
            if not is_count(part) or int(part) >= len(place):
                raise ValueError(
                    f"Setting {key!r}: `{'.'.join(parts[:depth])}` has {len(place)} entries, "
                    f"counted from 0. Received: {part!r}"
                )
            index: Any = int(part)
        elif isinstance(place, dict):
            index = part
            if not last:
                place.setdefault(part, {})
        else:
            raise ValueError(
                f"Setting {key!r}: `{'.'.join(parts[:depth])}` is a value, not a table"
            )
        if last:
            place[index] = value
        place = place[index]


# Keys that exclude each other, so one replaces the other.
_EITHER = ("epochs", "steps")


def _find(values: Any, key: str) -> Any:
    """Returns the value of a dotted key in nested tables and lists, or None."""
    for part in (part.strip() for part in key.split(".")):
        if isinstance(values, list) and is_count(part) and int(part) < len(values):
            values = values[int(part)]
        else:
            values = values.get(part) if isinstance(values, dict) else None
    return values


def apply_setting(values: dict[str, Any], key: str, value: Any) -> None:
    """Changes a value in the tables of a recipe, and in the stages that have their own."""
    table, _, name = key.rpartition(".")
    names = _EITHER if name in _EITHER else (name,)
    stages = values.get("stage")
    for place in (values, *(stages if isinstance(stages, list) else ())):
        found = _find(place, table) if table else place
        own = isinstance(found, dict) and any(each in found for each in names)
        if place is not values and not own and _find(place, key) is None:
            continue
        for each in names if own and len(names) > 1 else ():
            found.pop(each, None)
        assign(place, key, value)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested tables with the changes of a [[stage]]."""
    either = any(key in changes for key in _EITHER)
    found = {key: value for key, value in base.items() if not (either and key in _EITHER)}
    for key, value in changes.items():
        before = found.get(key)
        found[key] = copied(value)
        if value and isinstance(value, Mapping) and isinstance(before, Mapping):
            # The keys of one class mean nothing to another, so a table with another name replaces.
            name = before.get("name")
            found[key] = _merged(before, value) if value.get("name", name) == name else found[key]
    return found


_SAME_IN_ALL_STAGES = (
    ("training", "strategy"),
    ("training", "devices"),
    ("training", "model_parallel"),
    ("data", "min_images"),
    ("data", "holdout_identities"),
)
_BUILT_IN = resources.files("gfkeras.training") / "recipes"


class Recipe(sections.Section):
    """All settings of a training run except the data.

    The classes in `gfkeras.training.recipe_sections` define the keys of each table.
    `[model.backbone]`, `[head]` and each `[[loss]]` have the `name` of a class and its arguments,
    such as `margin` for ArcFace. The losses are multiplied by their `weight` and added to the loss
    of the head. A `[head]` with the name "none" removes the head. Each `[[augmentation]]` has the
    `name` of a layer in `gfkeras.data.augmentation.catalog` and its arguments. These layers run
    after flip and shift, in the order of the recipe. Each `[[stage]]` has a `name` and changes of
    the other tables. Without a stage, the recipe itself is trained.

    Example:
        recipe = Recipe.read("orl", settings=["training.epochs=3"])
        recipe.write("recipe.toml")
    """

    seed: NonNegativeInt = 0
    dtype_policy: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    data: sections.DataSection = Field(default_factory=sections.DataSection)
    augmentation: list[sections.NamedSection] = Field(default_factory=list)
    model: sections.ModelSection = Field(default_factory=sections.ModelSection)
    head: sections.NamedSection = sections.NamedSection(name="ArcFace")
    loss: list[sections.NamedSection] = Field(default_factory=list)
    teacher: sections.TeacherSection | None = None
    optimizer: sections.OptimizerSection = Field(default_factory=sections.OptimizerSection)
    schedule: sections.ScheduleSection = Field(default_factory=sections.ScheduleSection)
    training: sections.TrainingSection = Field(default_factory=sections.TrainingSection)
    evaluation: sections.EvaluationSection = Field(default_factory=sections.EvaluationSection)
    mining: sections.MiningSection | None = None
    stage: list[sections.StageSection] = Field(default_factory=list)

    @model_validator(mode="after")
    def _mining_has_its_loss(self) -> Self:
        listed = any(loss.arguments.get("mining") == "listed" for loss in self.loss)
        if listed != (self.mining is not None):
            given = 'a loss with mining = "listed"' if listed else "[mining]"
            other = "[mining]" if listed else 'a [[loss]] TripletLoss with mining = "listed"'
            raise ValueError(f"{given} needs {other}")
        training = self.training
        if self.mining is not None and training.images_per_identity is not None:
            raise ValueError("expected no training.images_per_identity with [mining]")
        if self.mining is not None and training.strategy == "multi-worker":
            raise ValueError('expected another training.strategy than "multi-worker" with [mining]')
        return self

    @classmethod
    def read(cls, source: str | os.PathLike[str], settings: Iterable[str] = ()) -> Self:
        """Reads a recipe file or a built-in recipe.

        Args:
            source: a TOML file, or the name of a built-in recipe (`Recipe.built_in()`).
            settings: changes in the form `key=value` with dotted keys, such as `training.epochs=3`
                and `loss.0.weight=0.2`. Values are TOML, and strings need no quotes. A key applies
                to all stages, and `stage.0.training.epochs=3` to the first one.

        Raises:
            ValueError: in one line, if the file is missing or is not TOML, a key or name is unknown
                (the message suggests a similar one), or a value has the wrong type.
        """
        return cls.parse(read_toml(source, "recipe", _BUILT_IN), settings, str(source))

    @classmethod
    def parse(
        cls,
        values: Mapping[str, Any],
        settings: Iterable[str] | Mapping[str, Any] = (),
        source: str = "recipe",
    ) -> Self:
        """Makes a recipe from nested dictionaries, the tables of a recipe file.

        Args:
            values: the tables.
            settings: changes in the form of `read`, or values by dotted keys.
            source: name of the recipe at the start of messages.

        Raises:
            ValueError: if a key, name or value is invalid (see `read`).
        """
        changed = copied(values)
        if not isinstance(settings, Mapping):
            settings = dict(split_setting(setting) for setting in settings)
        for key, value in settings.items():
            apply_setting(changed, key, value)
        try:
            recipe = cls.model_validate(changed)
        except ValidationError as error:
            raise ValueError(f"{source}: {readable(error, cls)}") from None
        # Importing Keras takes seconds, so errors that do not need it are found before.
        load_keras()
        from gfkeras.training.recipe_names import check_names

        named = (recipe.model, recipe.head, recipe.loss, recipe.teacher, recipe.optimizer)
        try:
            check_names(*named, recipe.augmentation)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        recipe.in_stages(source)
        return recipe

    def in_stages(self, source: str = "recipe") -> dict[str, Self]:
        """Returns the recipe of each stage by its name: {} for a recipe without stages.

        `source` is the name of the recipe in messages.

        Raises:
            ValueError: if a stage is invalid, or if two have the same name.
        """
        base = self.model_dump(exclude_none=True, exclude={"stage"})
        found: dict[str, Self] = {}
        for stage in self.stage:
            place = f"{source}, stage {stage.name!r}"
            if stage.name in found or "stage" in stage.arguments:
                raise ValueError(f"{place}: expected another name, and no [[stage]] in a stage")
            found[stage.name] = self.parse(_merged(base, stage.arguments), source=place)
            for table, key in _SAME_IN_ALL_STAGES:
                whole, own = (getattr(getattr(r, table), key) for r in (self, found[stage.name]))
                if own != whole:
                    raise ValueError(
                        f"{place}: `{table}.{key}` must be {whole!r} as in the recipe, because "
                        f"devices and data are set up once. Received: {own!r}"
                    )
        return found

    def starting_from(self, init: str | os.PathLike[str]) -> Self:
        """Returns the recipe with another `init` in [model]."""
        model = self.model.model_copy(update={"init": str(init)})
        return self.model_copy(update={"model": model})

    @staticmethod
    def built_in() -> list[str]:
        """Returns the names of the built-in recipes."""
        return built_in_names(_BUILT_IN)

    def to_toml(self) -> str:
        """Returns the recipe as TOML with all defaults. `Recipe.read` can read it."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the recipe as TOML into a file."""
        Path(path).write_text(self.to_toml(), encoding="utf-8")
