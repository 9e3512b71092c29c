"""Names of gfkeras in Python code, and a check that they exist."""

from __future__ import annotations

import ast
import importlib
from typing import Any

import gfkeras


def names_of_gfkeras(tree: ast.AST) -> list[str]:
    """Returns the names of gfkeras that the code uses, as dotted names."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gfkeras"):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            if dotted.startswith("gfkeras.") and dotted.replace(".", "").isidentifier():
                found.append(dotted)
    return found


def resolve(dotted: str) -> None:
    """Fails if a name of gfkeras does not exist."""
    value: Any = gfkeras
    for part in dotted.split(".")[1:]:
        if not hasattr(value, part):
            importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
