"""Grid of an ablation: a base recipe and the changes of each row."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import ConfigDict, Field, NonNegativeInt, ValidationError

from gfkeras.errors import unknown_name
from gfkeras.experiments.ablation.axes import Draft, apply, check_word
from gfkeras.experiments.ablation.row import Row
from gfkeras.toml_errors import readable
from gfkeras.training import Recipe
from gfkeras.training.recipe import built_in_names, copied, read_toml
from gfkeras.training.recipe_sections import Section

_BUILT_IN = resources.files("gfkeras.experiments.ablation") / "grids"


class _RowTable(Section):
    # Every key except the fields below is a change of the recipe.
    model_config = ConfigDict(extra="allow", strict=True)

    name: str = Field(min_length=1)
    section: str = ""

    @property
    def changes(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class _GridFile(Section):
    title: str = "Ablation"
    recipe: str | dict[str, Any]
    seeds: list[NonNegativeInt] = Field(default_factory=lambda: [0, 1, 2], min_length=1)
    reference: str | None = None
    design: Literal["one-at-a-time", "product"] = "one-at-a-time"
    base: dict[str, Any] = Field(default_factory=dict)
    row: list[_RowTable] = Field(default_factory=list)
    axes: dict[str, list[Any]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """The rows of an ablation, all checked.

    A grid file has the key `recipe`: the name of a built-in recipe, a recipe file (the folder of
    the grid file is searched first), or a table with the whole recipe. `[base]` holds changes for
    all rows. Rows come from `[[row]]`, each with a `name` and its changes, or from `[axes]` with
    lists of values, or from both. By default the axes vary one at a time around the base.
    `design = "product"` combines all values. A change is a keyword of `axes.AXES`, such as
    `groups = 16`, or a recipe key, such as `training.epochs = 3`. `reference` names the row that
    differences refer to, by default the first. `seeds` are the seeds of each training. `text` is
    the grid as TOML, including the recipe.

    Example:
        grid = Grid.read("lfw", settings=["training.epochs=3"])
    """

    title: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    reference: str
    text: str

    @classmethod
    def read(
        cls,
        source: str | os.PathLike[str],
        settings: Iterable[str] = (),
        axes: Mapping[str, list[Any]] | None = None,
    ) -> Grid:
        """Reads a grid file or a built-in grid.

        Args:
            source: a TOML file, or the name of a built-in grid (`Grid.built_in()`).
            settings: changes of the base recipe, as in `Recipe.read`. The changes of a row win.
            axes: values of axes, instead of or in addition to those of the file.

        Raises:
            ValueError: with a message of one line, for a missing file, invalid TOML, an unknown
                keyword or key (with the nearest known one), or an invalid row.
        """
        folder = Path(source).parent if Path(source).is_file() else None
        values = read_toml(source, "grid", _BUILT_IN)
        if axes:
            values["axes"] = {**values.get("axes", {}), **axes}
        return cls.parse(values, settings, str(source), folder)

    @classmethod
    def parse(
        cls,
        values: Mapping[str, Any],
        settings: Iterable[str] = (),
        source: str = "grid",
        folder: Path | None = None,
    ) -> Grid:
        """Makes a grid from the tables of its file. Settings and errors are those of `read`.

        Error messages begin with `source`. A recipe file is searched for in `folder` first.
        """
        try:
            file = _GridFile.model_validate(copied(values))
        except ValidationError as error:
            raise ValueError(f"{source}: {readable(error, _GridFile, 'grid')}") from None
        recipe = _recipe(file.recipe, settings, source, folder)
        tables = recipe.model_dump(exclude_none=True)
        try:
            rows = tuple(_rows(file, tables))
            reference = _reference(file, rows)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        text = tomli_w.dumps({**values, "recipe": tables})
        return cls(file.title, rows, tuple(dict.fromkeys(file.seeds)), reference, text)

    @staticmethod
    def built_in() -> list[str]:
        """Returns the names of the built-in grids."""
        return built_in_names(_BUILT_IN)

    def select(self, wanted: Iterable[str]) -> tuple[Row, ...]:
        """Returns some of the rows, in the order of the grid.

        `wanted` are names, numbers counted from 1, or ranges such as "1,4-6". Raises ValueError,
        with the nearest name, for anything else.
        """
        chosen: set[int] = set()
        by_name = {row.name: row.number for row in self.rows}
        for entry in wanted:
            if entry in by_name:
                chosen.add(by_name[entry])
                continue
            # An entry that is a row's whole name was taken above, because names may contain commas.
            for part in entry.split(","):
                low, dash, high = part.strip().partition("-")
                if not low.isdecimal() or (dash and not high.isdecimal()):
                    raise unknown_name("row", entry, by_name)
                numbers = range(int(low), int(high if dash else low) + 1)
                if not numbers or not 1 <= numbers[0] <= numbers[-1] <= len(self.rows):
                    raise ValueError(
                        f"`rows` must be from 1 to {len(self.rows)}. Received: {part.strip()!r}"
                    )
                chosen.update(numbers)
        return tuple(row for row in self.rows if row.number in chosen)


def _recipe(
    recipe: str | dict[str, Any], settings: Iterable[str], source: str, folder: Path | None
) -> Recipe:
    if not isinstance(recipe, str):
        return Recipe.parse(recipe, settings, f"{source}, [recipe]")
    beside = folder / recipe if folder is not None else None
    return Recipe.read(beside if beside is not None and beside.is_file() else recipe, settings)


def _rows(file: _GridFile, tables: dict[str, Any]) -> Iterator[Row]:
    names: set[str] = set()
    for number, (name, section, changes) in enumerate(_written(file), start=1):
        if name in names:
            raise ValueError(f"`row` must have different names. Received: {name!r} twice")
        names.add(name)
        # Changes are made in place, so each row needs a copy of the base recipe.
        draft = Draft(copied(tables))
        try:
            apply(draft, file.base)
            apply(draft, changes)
            recipe, scoring = draft.finished()
        except ValueError as error:
            raise ValueError(f"row {name!r}: {error}") from None
        yield Row(number, name, section, recipe, scoring)
    if not names:
        raise ValueError("a grid needs a [[row]] or [axes]. Received: neither")


def _written(file: _GridFile) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields (name, section, changes) of each row."""
    for row in file.row:
        yield row.name, row.section, row.changes
    for word, values in file.axes.items():
        check_word(word)
        if not values:
            raise ValueError(f"[axes] `{word}` must list at least one value. Received: []")
    if file.design == "product":
        for chosen in itertools.product(*file.axes.values()) if file.axes else ():
            changes = dict(zip(file.axes, chosen, strict=True))
            name = ", ".join(f"{word} {_text(value)}" for word, value in changes.items())
            yield name, "", changes
        return
    if file.axes:
        yield "base", "", {}
    for word, values in file.axes.items():
        for value in values:
            yield f"{word} {_text(value)}", word, {word: value}


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = [f"{key}={item}" for key, item in value.items() if key != "name"]
        return " ".join([*([value["name"]] if "name" in value else []), *rest])
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _reference(file: _GridFile, rows: tuple[Row, ...]) -> str:
    names = [row.name for row in rows]
    if file.reference is None:
        return names[0]
    if file.reference not in names:
        raise unknown_name("reference", file.reference, names)
    return file.reference
