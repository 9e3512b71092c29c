"""`prepare`: from photos and public formats to training records."""

from gfkeras.data.prepare.options import PrepareOptions, PrepareResult
from gfkeras.data.prepare.preparing import prepare

__all__ = ["PrepareOptions", "PrepareResult", "prepare"]
