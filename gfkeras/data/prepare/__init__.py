"""Training records from photos and public formats."""

from gfkeras.data.prepare.options import PrepareOptions, PrepareResult
from gfkeras.data.prepare.preparing import prepare

__all__ = ["PrepareOptions", "PrepareResult", "prepare"]
