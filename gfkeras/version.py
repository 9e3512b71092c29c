"""The version, where packaging and the code both read it."""

__version__ = "0.2.0"
