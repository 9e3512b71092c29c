"""Former names of `progress`."""

from gfkeras.cli.progress import embedding_bar, stages

__all__ = ["embedding_bar", "stages"]
