"""Reading a recipe's file, and changing what it holds by dotted keys."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from gfkeras.errors import unknown_name


def built_in_names(folder: Traversable) -> list[str]:
    """The names of the TOML files that come with gfkeras in one of its folders."""
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_toml(source: str | os.PathLike[str], kind: str, folder: Traversable) -> dict[str, Any]:
    """The tables of a TOML file, or of one that comes with gfkeras.

    Args:
        source: the file, or the name of a built-in one.
        kind: what it is called in messages, such as "recipe".
        folder: where the built-in ones lie.

    Raises:
        ValueError: in one line, for a file that is missing or not TOML, and for an unknown
            name, with the nearest right one.
    """
    path = Path(source)
    name = os.fspath(source)
    known = built_in_names(folder)
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
        elif path.suffix == ".toml" or os.sep in name or path.is_dir():
            reason = "is a folder" if path.is_dir() else "does not exist"
            raise ValueError(
                f"`{kind}` must be a TOML file or the name of a built-in {kind} "
                f"({', '.join(known)}). Received: {name!r}, which {reason}"
            )
        elif name in known:
            text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        else:
            raise unknown_name(kind, name, known)
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not a text file in UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} is not valid TOML: {error}") from error


def copied(value: Any) -> Any:
    """Nested tables and lists, to be changed without changing the original."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def split_setting(setting: str) -> tuple[str, Any]:
    """The key and the value of `a.b=value`: TOML, or a bare word for a string."""
    key, equals, text = setting.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ValueError(f"A setting must look like a.b=value. Received: {setting!r}")
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text.strip()


def assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets what a dotted key names in nested tables and lists.

    Raises:
        ValueError: where the key goes through a value, or past the end of a list.
    """
    parts = [part.strip() for part in key.split(".")]
    place: Any = values
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
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
