"""Galleries of people: face templates, the index that stores them, and exact search."""

from gfkeras.inference.gallery.gallery import Gallery
from gfkeras.inference.gallery.templates import Match, Templates

__all__ = ["Gallery", "Match", "Templates"]
