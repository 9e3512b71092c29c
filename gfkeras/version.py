"""The version of gfkeras. Packaging and the code both read it here."""

__version__ = "0.1.0"
