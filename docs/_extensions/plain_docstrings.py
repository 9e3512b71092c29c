"""Docstrings in plain text, prepared for Sphinx.

Our docstrings are written for `help()`, as plain text with Google's sections. Before
sphinx.ext.napoleon reads the sections, this extension escapes characters that would be markup,
turns examples into code blocks, and keeps the text of "Returns:" as prose.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from generated import as_rst
from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

_SECTION = re.compile(r"^(\w[\w ]*):$")
_NAMED = re.compile(r"^( +)(\w+): (?=\S)")
# Without an escape, "scale: s." begins a list that is counted by letters.
_COUNTED = re.compile(r"^( +\w+: \w{1,4})(?=[.)](\s|$))", re.M)


def _example(body: list[str]) -> list[str]:
    if not body or body[0].lstrip().startswith(">>>"):
        return body
    return ["    .. code-block:: python", "", *(f"    {line}".rstrip() for line in body), ""]


def _returns(body: list[str]) -> list[str]:
    """Text in which Napoleon finds no type: it reads the words before a colon as one."""
    first, *rest = body
    if first.endswith(":"):  # A dictionary, whose keys follow.
        rest = ["", *(_NAMED.sub(r"\1- ``\2``: ", line) for line in rest)]
    indent = first[: len(first) - len(first.lstrip())]
    return [f"{indent}: {first.lstrip()}", *rest]


def _prose(body: list[str]) -> list[str]:
    return _COUNTED.sub(r"\1\\", as_rst("\n".join(body))).split("\n")


def _paragraphs(body: list[str]) -> list[str]:
    """Converts paragraphs of prose. An indented paragraph is a formula or code."""
    made: list[str] = []
    for paragraph in "\n".join(body).split("\n\n"):
        lines = paragraph.split("\n")
        if lines[0].startswith("    "):
            made += ["::", "", *lines, ""]
        else:
            made += [*_prose(lines), ""]
    return made


def sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """A docstring's sections by heading, in order. The text before them has an empty heading."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        heading = _SECTION.match(line)
        if heading and heading[1] in {"Args", "Attributes", "Call arguments", "Example", "Raises",
                                      "Returns", "Yields"}:  # fmt: skip
            found.append((heading[1], []))
        elif line and not line.startswith(" ") and found[-1][0]:
            found.append(("", [line]))
        else:
            found[-1][1].append(line)
    return found


def plain(lines: list[str]) -> list[str]:
    """Returns the lines of a docstring, prepared for Napoleon."""
    made: list[str] = []
    for heading, body in sections(lines):
        made += [f"{heading}:"] if heading else []
        if heading == "Example":
            made += _example(body)
        elif heading == "Returns":
            made += _returns(_prose(body))
        else:
            made += _prose(body) if heading else _paragraphs(body)
    return made


def _process(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = plain(lines)
    if what in {"attribute", "property"} and lines:
        # Napoleon reads the words before the first colon as a type. Now there are none.
        lines[0] = f": {lines[0]}"


def _signature(app: Sphinx, what: str, name: str, value: Any, *_: Any) -> tuple[str, str] | None:
    """Returns the arguments of a class's `__init__`.

    Autodoc would show those of Keras' `__new__`, which are (*args, **kwargs).
    """
    made = getattr(value, "__init__", None)
    if what != "class" or not inspect.isfunction(made):
        return None
    signature = inspect.signature(made)
    # Without `self`, and without a return type.
    signature = signature.replace(
        parameters=list(signature.parameters.values())[1:],
        return_annotation=inspect.Signature.empty,
    )
    return stringify_signature(signature, unqualified_typehints=True), ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the conversion with a priority before Napoleon's, which is 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
