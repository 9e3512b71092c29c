"""The version of gfkeras. Packaging and the code both read it here."""

__version__ = "0.2.0"
