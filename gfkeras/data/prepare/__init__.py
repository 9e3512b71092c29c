"""`prepare`: from photos and public formats to training records."""

from gfkeras.data.prepare.options import PrepareOptions
from gfkeras.data.prepare.preparing import prepare
from gfkeras.data.prepare.result import PrepareResult

__all__ = ["PrepareOptions", "PrepareResult", "prepare"]
