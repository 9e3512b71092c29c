"""Reading of TOML files with Pydantic, with errors in one readable line."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from gfkeras.errors import nearest
from gfkeras.files import settings_text

Table = TypeVar("Table", bound=BaseModel)

# Recipes have about five levels of tables.
_MAX_DEPTH = 50
_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
}


def read_toml(path: Path, file: type[Table], what: str) -> Table:
    """Reads a TOML file as an object of the class `file`.

    Raises a ValueError in one line that names the path and the key. `what` is the kind of file.
    """
    try:
        return file.model_validate(toml_values(path))
    except ValidationError as error:
        raise ValueError(f"{path}: {readable(error, file, what)}") from error


def parsed_toml(text: str) -> dict[str, Any]:
    """Returns the tables of a TOML text.

    Raises TOMLDecodeError for invalid text, and RecursionError for tables that are nested too
    deep: the parser accepts any depth in a key such as a.b.c, and other code cannot process it.
    """
    found = tomllib.loads(text)
    inside: list[Any] = [found]
    for _ in range(_MAX_DEPTH):
        held = (each.values() if isinstance(each, dict) else each for each in inside)
        inside = [value for values in held for value in values if isinstance(value, (dict, list))]
        if not inside:
            return found
    raise RecursionError


def toml_values(path: Path) -> dict[str, Any]:
    """Returns the values of a TOML file. Raises a ValueError in one line if it is unreadable."""
    try:
        return parsed_toml(settings_text(path))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deep") from error


def readable(error: ValidationError, file: type[BaseModel], what: str = "recipe") -> str:
    """Returns the first error in one line, with the number of further errors.

    `file` is the validated class, whose fields are the known keys. `what` is its name in messages.
    """
    findings = error.errors()
    # Name a misspelt key first: it also makes the right key "missing".
    findings.sort(key=lambda finding: finding["type"] != "extra_forbidden")
    places = {tuple(map(str, finding["loc"])) for finding in findings}
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return _line(findings[0], file, what) + more


def _line(finding: Any, file: type[BaseModel], what: str) -> str:
    location, kind, received = finding["loc"], finding["type"], finding["input"]
    key = ".".join(map(str, location)) or what
    if kind == "extra_forbidden":
        table, name = location[:-1], str(location[-1])
        known = sorted(_section(file, table).model_fields)
        where = f"in [{'.'.join(map(str, table))}]" if table else f"at the top of the {what}"
        guess = nearest(name, known)
        hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(known)}."
        return f"Unknown key {name!r} {where}; {hint}"
    if kind == "missing":
        return f"`{key}` is missing"
    context = finding.get("ctx", {})
    if kind == "literal_error":
        guess = nearest(str(received), _choices(context["expected"]))
        hint = f" (did you mean {guess!r}?)" if guess else ""
        return f"`{key}` must be {context['expected']}{hint}. Received: {_value(received)}"
    if kind == "value_error":
        message = str(context["error"])
        suffix = "" if isinstance(received, dict) else f". Received: {_value(received)}"
        return f"`{key}`: {message}{suffix}"
    if kind in _EXPECTED:
        return f"`{key}` must be {_EXPECTED[kind]}. Received: {_value(received)}"
    message = finding["msg"].removeprefix("Input should be ")
    return f"`{key}` must be {message}. Received: {_value(received)}"


def _value(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "table"}
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"{shown} ({names.get(type(value), type(value).__name__)})"


def _choices(expected: str) -> list[str]:
    return [part.strip().strip("'") for part in expected.replace(" or ", ",").split(",")]


def _section(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel]:
    """Returns the class of the table at a location."""
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return model
