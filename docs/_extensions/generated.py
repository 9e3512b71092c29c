"""Functions of the steps that generate pages."""

from __future__ import annotations

import re
from pathlib import Path


def write_if_changed(path: Path, text: str) -> None:
    """Writes a page if it changed. Otherwise it keeps its time and is not built again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def as_rst(prose: str) -> str:
    """Returns plain text with `code` in backticks as reStructuredText, with markup escaped."""
    pieces = re.split(r"(``.+?``|`(?:[^`\n]|\n(?!\s*\n))+`)", prose)
    for i, piece in enumerate(pieces):
        if i % 2:
            pieces[i] = f"``{piece.strip('`')}``"
        else:
            pieces[i] = re.sub(r"[*|\\]|_(?!\w)", r"\\\g<0>", piece)
    return "".join(pieces)
