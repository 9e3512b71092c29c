"""API pages in docs/reference/, one per public package, generated from the docstrings.

A package's `__all__` says what is public. If several packages export a name, the one with the
shortest path describes it, and the others refer to it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

from generated import write_if_changed
from sphinx.application import Sphinx

LONGEST_VALUE = 60


def public_packages() -> list[ModuleType]:
    """Returns the packages with an `__all__`, except `gfkeras.cli`, which has its own page."""
    root = importlib.import_module("gfkeras")
    found = [root]
    for info in pkgutil.walk_packages(root.__path__, "gfkeras."):
        parts = info.name.split(".")
        if info.ispkg and not any(p.startswith("_") for p in parts) and parts[1] != "cli":
            package = importlib.import_module(info.name)
            if getattr(package, "__all__", None):
                found.append(package)
    return found


def homes(packages: list[ModuleType]) -> dict[tuple[str, int], str]:
    """Returns the package that describes each object, by the object's name and id.

    This is the package with the shortest path and then the first name. The root never counts.
    """
    found: dict[tuple[str, int], str] = {}
    for package in sorted(packages, key=lambda p: (p.__name__.count("."), p.__name__)):
        if package.__name__ != "gfkeras":
            for name in package.__all__:
                found.setdefault((name, id(getattr(package, name))), package.__name__)
    return found


def _entry(package: str, name: str, value: object) -> list[str]:
    path = f"{package}.{name}"
    if inspect.isclass(value):
        options = [":members:", ":show-inheritance:"]
        return [f".. autoclass:: {path}", *(f"   {option}" for option in options), ""]
    if callable(value) and hasattr(value, "__name__"):
        return [f".. autofunction:: {path}", ""]
    shown = [f"   :value: {value!r}"] if len(repr(value)) <= LONGEST_VALUE else []
    return [f".. py:data:: {path}", f"   :type: {type(value).__name__}", *shown, ""]


def _page(package: ModuleType, home: dict[tuple[str, int], str]) -> str:
    title = f"``{package.__name__}``"
    lines = [title, "=" * len(title), "", f".. automodule:: {package.__name__}", ""]
    elsewhere = []
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.ismodule(value) or name == "__version__":
            continue
        where = home.get((name, id(value)), package.__name__)
        if where == package.__name__:
            lines += _entry(where, name, value)
        else:
            elsewhere.append(f"- :py:obj:`{name} <{where}.{name}>`, described in ``{where}``")
    if elsewhere:
        lines += ["Also exported", "-------------", "", *elsewhere, ""]
    return "\n".join(lines)


def _index(packages: list[ModuleType]) -> str:
    lines = [
        "API",
        "===",
        "",
        "Public classes and functions by package, as ``help()`` shows them.",
        "",
    ]
    for package in packages:
        first = (package.__doc__ or "").strip().partition("\n")[0]
        lines.append(f"- :doc:`{package.__name__} <api/{package.__name__}>`: {first}")
    lines += ["", ".. toctree::", "   :hidden:", ""]
    lines += [f"   {p.__name__} <api/{p.__name__}>" for p in packages]
    return "\n".join(lines) + "\n"


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "docs" / "reference"
    packages = public_packages()
    home = homes(packages)
    pages = {f"api/{p.__name__}.rst": _page(p, home) for p in packages}
    pages["api.rst"] = _index(packages)
    # A page of a package that no longer exists would stay on the site.
    for stale in set((folder / "api").glob("*.rst")) - {folder / page for page in pages}:
        stale.unlink()
    for page, text in pages.items():
        write_if_changed(folder / page, text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the writing of the pages, before Sphinx looks for sources."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
