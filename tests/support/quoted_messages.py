"""The messages that docs/troubleshooting.md quotes, compared with those in the code."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from markdown_blocks import ROOT, blocks

PAGE = "docs/troubleshooting.md"
# A shorter piece of fixed text, such as ": ", is in many messages.
MIN_PIECE = 10
# A longer stretch is not a value such as a name, so some text in the code must have it.
MAX_VALUE_WORDS = 4
_VALUE = "\0"


def quotations() -> list[str]:
    """The quoted messages. A line break in a block stands for a space."""
    return [" ".join(block.text.split()) for block in blocks(PAGE) if block.language == "text"]


def templates(folder: Path = ROOT / "gfkeras") -> list[str]:
    """Every text in the code, its values replaced by NUL characters."""
    found: list[str] = []
    for path in sorted(folder.rglob("*.py")):
        found += _texts(ast.parse(path.read_text(encoding="utf-8")))
    return list(dict.fromkeys(found))


def _texts(tree: ast.AST) -> Iterator[str]:
    # A docstring is a statement of its own.
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else _VALUE
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in documentation:
            yield str(node.value)


def covered(message: str, template: str) -> set[int]:
    """The places in the message that the template's fixed text fills, if all of it is there."""
    pieces = template.split(_VALUE)
    if not any(len(piece.strip()) >= MIN_PIECE for piece in pieces):
        return set()
    places, place = set(), 0
    for piece in (" ".join(piece.split()) for piece in pieces):
        found = message.find(piece, place)
        if found < 0:
            return set()
        place = found + len(piece)
        places.update(range(found, place))
    return places


def is_given(message: str, known: list[str]) -> bool:
    """Whether texts of the code fill the message, except for values such as names and numbers."""
    fixed = set().union(*(covered(message, template) for template in known))
    rest = "".join(_VALUE if i in fixed else letter for i, letter in enumerate(message))
    # A list of names, "a, b, c", is one value.
    values = [re.sub(r"\S+, ", "", run).split() for run in rest.split(_VALUE)]
    return bool(fixed) and max(map(len, values)) <= MAX_VALUE_WORDS


def stale(messages: list[str], known: list[str]) -> dict[str, str]:
    """The quotations that no template gives, each with the nearest template."""
    shown = [template.replace(_VALUE, "…") for template in known if len(template) >= MIN_PIECE]
    return {
        message: next(iter(difflib.get_close_matches(message, shown, n=1, cutoff=0.2)), "")
        for message in messages
        if not is_given(message, known)
    }
