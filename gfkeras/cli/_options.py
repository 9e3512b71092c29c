"""Former names of `options`."""

from gfkeras.cli.options import QuietOption, SettingsOption

__all__ = ["QuietOption", "SettingsOption"]
