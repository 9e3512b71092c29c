"""Running of the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType


def examples(room: ModuleType) -> dict[str, doctest.DocTest]:
    """Returns the examples in a package by the name of the documented object."""
    found = {}
    for info in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{room.__name__}.{info.name}")
        # An empty namespace: the example must import the names that it uses.
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs={}):
            if test.examples:
                found[test.name.removeprefix(f"{module.__name__}.")] = test
    return found


def run(test: doctest.DocTest) -> str:
    """Runs an example. Returns the differing output, or an empty text."""
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return "".join(said)
