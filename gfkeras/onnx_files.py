"""ONNX files that others made, parsed without anything that they name.

The weights of an ONNX file may lie in other files, whose paths the file states. Nothing of the kind
is opened here, nor given to a runtime that would open it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfkeras.errors import reading, require


def try_onnx(path: str | None) -> None:
    """What a child does with a file before `load_onnx` parses it here; see `check_in_child`.

    Empty parts of a graph take two bytes in a file and a hundred in memory.
    """
    require("onnx", "onnx")
    if path is not None:
        load_onnx(Path(path))


def load_onnx(path: Path, check: bool = False) -> Any:
    """The `onnx.ModelProto` in a file, with all of its weights inside.

    Args:
        path: the file.
        check: let `onnx.checker` look at the graph too.

    Raises:
        ValueError: for a file that is damaged, or keeps weights in other files.
        ImportError: without the package `onnx`.
    """
    onnx = require("onnx", "onnx")
    # Errors of protobuf and of the checker are kinds of their own.
    with reading(path, "an ONNX model", anything=True):
        model = onnx.load_model(path, load_external_data=False)
        _refuse_other_files(onnx, model, path)
        if check:
            onnx.checker.check_model(model)
        return model


def _refuse_other_files(onnx: Any, model: Any, path: Path) -> None:
    """Looks at every tensor: of graphs inside of nodes, of functions, and of sparse ones."""
    todo: list[Any] = [model]
    while todo:
        message = todo.pop()
        if isinstance(message, onnx.TensorProto):
            if message.external_data or message.data_location == onnx.TensorProto.EXTERNAL:
                raise ValueError(f"{path} is refused: its tensor {message.name!r} is in a file")
            continue
        for field, value in message.ListFields():
            if field.message_type is not None:
                todo += [value] if hasattr(value, "ListFields") else value
