"""The page of all commands, docs/reference/commands.rst, generated from their help texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from generated import as_rst, write_if_changed
from sphinx.application import Sphinx

INTRODUCTION = """\
Commands
========

The same texts as ``gfkeras COMMAND --help``. Each command ends with status 0, or with status 2
after one line that says what is wrong. ``GFKERAS_DEBUG=1`` shows where the error came from.
"""


def commands(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Yields every command that is not a group, with the context that has its full name."""
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            made = type(below).context_class(below, info_name=name, parent=context)
            yield from commands(below, made)
    else:
        yield command, context


def _section(command: Any, context: Any) -> list[str]:
    title = f"``{context.command_path}``"
    lines = [title, "-" * len(title), "", f".. program:: {context.command_path}", ""]
    lines += [as_rst(paragraph) for paragraph in command.help.strip().splitlines()]
    usage = command.get_usage(context).removeprefix("Usage: ")
    lines += ["", ".. code-block:: text", "", f"   {' '.join(usage.split())}", ""]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and "--help" not in parameter.opts:
            signature, text = record
            lines += [f".. option:: {signature}", "", f"   {as_rst(' '.join(text.split()))}", ""]
    return lines


def _write(app: Sphinx) -> None:
    from gfkeras.cli.app import app as gfkeras_app

    root = typer.main.get_command(gfkeras_app)
    context = type(root).context_class(root, info_name="gfkeras")
    lines = [INTRODUCTION]
    for command, its_context in commands(root, context):
        lines += _section(command, its_context)
    page = Path(app.srcdir) / "docs" / "reference" / "commands.rst"
    write_if_changed(page, "\n".join(lines) + "\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the writing of the page, before Sphinx looks for sources."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
