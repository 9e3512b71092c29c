"""Former names of `gfkeras.cli`."""

from gfkeras.cli import command_line

__all__ = ["command_line"]
