"""Commands only parse and print. Each has a module in `gfkeras.tasks`."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import gfkeras.cli
from gfkeras.cli.app import app

MODULES = sorted(Path(gfkeras.cli.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("name", [command.name for command in app.registered_commands])
def test_a_command_is_a_function_of_its_name(name):
    module = importlib.import_module(f"gfkeras.tasks.{name}")
    assert callable(getattr(module, name))
    assert getattr(module, name).__module__ == module.__name__


def test_groups_of_commands_have_a_module():
    for group in app.registered_groups:
        importlib.import_module(f"gfkeras.tasks.{group.name}")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_the_command_line_parses_and_prints(module):
    """Functions of commands have at most 40 lines besides signature and docstring."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 40, node.name
