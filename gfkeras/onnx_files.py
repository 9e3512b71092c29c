"""Safe reading of ONNX files from unknown sources.

An ONNX file can name other files that contain its weights. Such files are refused: any path on the
machine could be named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gfkeras.errors import reading, require


def try_onnx(path: str | None) -> None:
    """Parses a file in a child process, before this process does. See `check_in_child`.

    An empty part of a graph takes two bytes in the file and a hundred bytes in memory.
    """
    require("onnx", "onnx")
    if path is not None:
        load_onnx(Path(path))


def load_onnx(path: Path, check: bool = False) -> Any:
    """Returns the `onnx.ModelProto` in a file that contains all of its weights.

    Args:
        path: the file.
        check: also run `onnx.checker` on the graph.

    Raises:
        ValueError: if the file is damaged or has weights in other files.
        ImportError: if the package `onnx` is missing.
    """
    onnx = require("onnx", "onnx")
    # protobuf and the checker raise their own exception classes.
    with reading(path, "an ONNX model", anything=True):
        model = onnx.load_model(path, load_external_data=False)
        _refuse_other_files(onnx, model, path)
        if check:
            onnx.checker.check_model(model)
        return model


def _refuse_other_files(onnx: Any, model: Any, path: Path) -> None:
    """Checks every tensor, also in nested graphs, functions and sparse tensors."""
    todo: list[Any] = [model]
    while todo:
        message = todo.pop()
        if isinstance(message, onnx.TensorProto):
            if message.external_data or message.data_location == onnx.TensorProto.EXTERNAL:
                raise ValueError(
                    f"{path} is refused: its tensor {message.name!r} is in another file"
                )
            continue
        for field, value in message.ListFields():
            if field.message_type is not None:
                todo += [value] if hasattr(value, "ListFields") else value
