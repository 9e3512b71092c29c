"""What quantisation asks of an ONNX graph."""

from __future__ import annotations

from typing import Any

from gfkeras.errors import require

PRODUCTS = ("Conv", "MatMul")


def products(model: Any) -> list[Any]:
    """The nodes that int8 is for."""
    return [node for node in model.graph.node if node.op_type in PRODUCTS]


def constants(model: Any) -> set[str]:
    """The names of what is stored in the file."""
    return {tensor.name for tensor in model.graph.initializer}


def short_names(model: Any) -> None:
    """Numbers in place of the names inside; a quantised graph has six for each operator.

    Inputs and outputs keep theirs. Of nothing but names and shapes that follow from the graph
    MobileFaceNet's int8 file has a fifth.
    """
    graph = model.graph
    names = {each.name: each.name for each in (*graph.input, *graph.output)}
    # An input that is left out.
    names[""] = ""

    def short(name: str) -> str:
        return names.setdefault(name, str(len(names)))

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}{index}"
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
        node.doc_string = ""
    del graph.value_info[:]


def with_batch(content: bytes, batch_size: int) -> bytes:
    """A file for any number of images as one for so many."""
    onnx: Any = require("onnx", "export")
    model = onnx.load_from_string(content)
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = batch_size
    return bytes(model.SerializeToString())
