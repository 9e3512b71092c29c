"""Examples in docstrings. Interactive sessions are run, and other code is only checked."""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import re
import textwrap
from pathlib import Path

import docstrings
import keras
import pytest
from code_names import names_of_gfkeras, resolve
from markdown_blocks import ROOT

PACKAGE = ROOT / "gfkeras"
# The tests of these packages run their examples, on both backends.
ELSEWHERE = {"heads", "losses"}
# These examples build whole networks.
SLOW = {"backbones/mobilefacenet.py", "models/groupface.py", "zoo/loading.py"}

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="building whole networks is slow on JAX"
)


def files(containing: str) -> list[Path]:
    found = [p for p in sorted(PACKAGE.rglob("*.py")) if containing in p.read_text()]
    return [p for p in found if p.relative_to(PACKAGE).parts[0] not in ELSEWHERE]


def sessions() -> list:
    names = [p.relative_to(PACKAGE).as_posix() for p in files("    >>> ")]
    assert set(names) >= SLOW
    return [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in names]


@pytest.mark.parametrize("name", sessions())
def test_session(name):
    module = importlib.import_module("gfkeras." + name.removesuffix(".py").replace("/", "."))
    # An empty namespace: the example must import the names that it uses.
    tests = [t for t in doctest.DocTestFinder().find(module, globs={}) if t.examples]
    assert tests
    for test in tests:
        assert docstrings.run(test) == ""


def plain_examples() -> list:
    """Returns the code under "Example:" that is not a session."""
    found = []
    for path in files("Example:\n"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef):
                continue
            _, heading, code = (ast.get_docstring(node) or "").partition("Example:\n")
            if heading and not code.lstrip().startswith(">>>"):
                name = f"{path.relative_to(PACKAGE)}:{node.name}"
                found.append(pytest.param(textwrap.dedent(code), id=name))
    return found


@pytest.mark.parametrize("code", plain_examples())
def test_code_is_python_that_names_what_exists(code):
    for name in names_of_gfkeras(ast.parse(code)):
        resolve(name)
    # A class that the example uses without a module must be one of ours.
    called = {
        node.func.id for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }  # fmt: skip
    assert {name for name in called if name[0].isupper() and not name.isupper()} <= our_classes()


@functools.cache
def our_classes() -> set[str]:
    texts = [path.read_text() for path in PACKAGE.rglob("*.py")]
    return {name for text in texts for name in re.findall(r"^(?:class )?([A-Z]\w+)\b", text, re.M)}
