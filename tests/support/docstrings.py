"""The examples in docstrings, run as they stand."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType


def examples(room: ModuleType) -> dict[str, doctest.DocTest]:
    """The examples of a package's modules by the name of what they document."""
    found = {}
    for info in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{room.__name__}.{info.name}")
        # An empty namespace: the example itself imports what it takes.
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs={}):
            if test.examples:
                found[test.name.removeprefix(f"{module.__name__}.")] = test
    return found


def run(test: doctest.DocTest) -> str:
    """Runs an example; what it printed in place of what it should, or nothing."""
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return "".join(said)
