"""Parsing of the commands in a shell block, and comparison with the options of their programs."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
from pathlib import Path
from typing import Any

import typer
from markdown_blocks import ROOT

from gfkeras.cli.app import app

Command = tuple[str, ...]
# Programs of other projects.
NOT_OURS = {"cp", "docker", "export", "mkdir"}


class UnknownCommandError(ValueError):
    """A command on a page that its program does not accept."""


def commands(text: str) -> list[Command]:
    """Returns the commands of a block. A backslash at the end of a line joins the next line."""
    lines = text.replace("\\\n", " ").splitlines()
    found: list[Command] = []
    for line in lines:
        words = shlex.split(line, comments=True)
        while "&&" in words:
            place = words.index("&&")
            found.append(tuple(words[:place]))
            words = words[place + 1 :]
        found.append(tuple(words))
    return [command for command in found if command]


def without_environment(command: Command) -> Command:
    """Returns the words after NAME=VALUE."""
    first = next(
        (i for i, word in enumerate(command) if not re.match(r"[A-Z_]+=", word)), len(command)
    )
    return command[first:]


def parse(arguments: Command) -> dict[str, Any]:
    """Returns the parameters of a `gfkeras` command line. Nothing is run."""
    command: Any = typer.main.get_command(app)
    name, rest = ["gfkeras"], list(arguments)
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            given = rest[0] if rest else ""
            raise UnknownCommandError(f"{' '.join(name)} has no command {given!r}")
        name.append(rest.pop(0))
        command = command.commands[name[-1]]
    for parameter in command.params:
        # The callbacks would look for the files.
        parameter.callback = None
    try:
        return dict(command.make_context(" ".join(name), rest).params)
    # Typer can bundle its own Click, so usage errors are recognised by their method.
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise UnknownCommandError(f"{' '.join(name)}: {error.format_message()}") from None


def check(command: Command) -> None:
    """Fails if a command, an option, a script, a target or an extra does not exist."""
    command = without_environment(command)
    if not command or command[0] in NOT_OURS:
        return
    program, *arguments = command
    known = {
        "gfkeras": _check_gfkeras, "make": _check_make, "pip": _check_pip, "npm": _check_npm,
        "python": _check_python, ".venv/bin/python": _check_python,
    }  # fmt: skip
    if program not in known:
        raise UnknownCommandError(f"nothing checks {program!r}: {shlex.join(command)}")
    known[program](arguments)


def _check_gfkeras(arguments: list[str]) -> None:
    parse(tuple(arguments))


def _check_make(arguments: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in (a for a in arguments if "=" not in a):
        if target not in targets:
            raise UnknownCommandError(f"the Makefile has no target {target!r}")


def _check_pip(arguments: list[str]) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for extras in re.findall(r"\[([\w,]+)\]", " ".join(arguments)):
        for extra in extras.split(","):
            if extra not in config["options.extras_require"]:
                raise UnknownCommandError(f"setup.cfg has no extra {extra!r}")


def _check_npm(arguments: list[str]) -> None:
    package = json.loads((ROOT / "export" / "web" / "package.json").read_text())
    if arguments[0] == "run" and arguments[1] not in package["scripts"]:
        raise UnknownCommandError(f"package.json has no script {arguments[1]!r}")


def _check_python(arguments: list[str]) -> None:
    if arguments[:2] == ["-m", "pytest"]:
        for path in (a for a in arguments[2:] if a.startswith("tests")):
            if not (ROOT / path).exists():
                raise UnknownCommandError(f"there is no {path}")
        return
    places = [ROOT / arguments[0], *ROOT.glob(f"export/*/{arguments[0]}")]
    script = next((path for path in places if path.is_file()), None)
    if script is None:
        raise UnknownCommandError(f"there is no script {arguments[0]!r}")
    options = script_options(script)
    for argument in arguments[1:]:
        option = argument.partition("=")[0]
        if option.startswith("--") and option not in options:
            raise UnknownCommandError(f"{arguments[0]} has no option {option!r}")


def script_options(script: Path) -> set[str]:
    """The options that a script, or a module beside it that it imports, adds to its parser."""
    tree = ast.parse(script.read_text())
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    beside = [script.parent / f"{module}.py" for module in imported]
    found = set()
    for file in [script, *(path for path in beside if path.is_file())]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                found |= {
                    a.value for a in node.args
                    if isinstance(a, ast.Constant) and str(a.value).startswith("--")
                }  # fmt: skip
    return found


def written(command: Command) -> list[str]:
    """Returns the paths that a `gfkeras` command writes. Their placeholders are removed first."""
    if command[0] != "gfkeras":
        return []
    given = parse(command[1:])
    names = ["out", "sheet", "picture", "plots", "json"]
    names += {"enroll": ["gallery"], "evaluate": ["thresholds"]}.get(command[1], [])
    return [str(given[name]) for name in names if given.get(name)]
