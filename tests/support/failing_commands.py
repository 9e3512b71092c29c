"""Commands that must end with an error in one line."""

from __future__ import annotations

from gfkeras.cli import main


def fails(capfd, *arguments: str) -> str:
    """The one line on stderr of a command that must exit with 2."""
    assert main(list(arguments)) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("gfkeras: error: ")
    assert "\n" not in error
    return error
