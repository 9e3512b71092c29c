"""Former names of `options` and `output`."""

from gfkeras.cli.options import JsonOption, ModelArgument, ModelOption, ThreadsOption
from gfkeras.cli.output import columns, fit_verbosity, say, table, text, write_json
from gfkeras.files import json_values as plain

__all__ = [
    "JsonOption",
    "ModelArgument",
    "ModelOption",
    "ThreadsOption",
    "columns",
    "fit_verbosity",
    "plain",
    "say",
    "table",
    "text",
    "write_json",
]
