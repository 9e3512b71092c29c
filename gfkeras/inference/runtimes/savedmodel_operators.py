"""What the graph of a SavedModel may do when it is loaded and run.

TensorFlow's graphs have operators that read, write and list files, and that call Python. Whatever
function of a SavedModel can run here is looked through for them before TensorFlow loads any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gfkeras.archives import require_bounded
from gfkeras.files import size_bytes

GRAPH_FILE = "saved_model.pb"
# TensorFlow marks an operator that does anything but compute. These keep variables, call
# functions of the graph, check or draw.
_STATEFUL = frozenset(
    [
        "VarHandleOp",
        "ReadVariableOp",
        "AssignVariableOp",
        "AssignAddVariableOp",
        "AssignSubVariableOp",
        "VarIsInitializedOp",
        "DisableCopyOnRead",
        "ResourceGather",
        "ResourceGatherNd",
        "StatefulPartitionedCall",
        "While",
        "If",
        "Case",
        "Assert",
        "XlaCallModule",
        "RandomUniform",
        "RandomUniformInt",
        "RandomStandardNormal",
        "TruncatedNormal",
        "Multinomial",
        "RngReadAndSkip",
        "StatefulStandardNormalV2",
        "StatefulUniform",
    ]
)
# They are not marked, though they map a file, call Python or write where an attribute says.
_OTHERS = ("ImmutableConst", "PyFunc", "EagerPyFunc", "Debug", "Copy", "_")


def check_operators(folder: Path) -> None:
    """Raises ValueError for a SavedModel with operators that can reach files or run Python.

    The functions with which every SavedModel saves and restores its own variables are left out
    where no other function can call them: loading does not run those.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    if (folder / "saved_model.cpb").exists():
        raise ValueError(f"{folder} is refused: its graph lies in several parts. {_HOW}")
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / GRAPH_FILE).read_bytes())
    if not model.meta_graphs:
        raise ValueError("it has no graph")
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].object_graph_def.nodes:
        raise ValueError(
            f"{folder} is refused: it is of TensorFlow 1's format and runs operators "
            f"while it is loaded. {_HOW}"
        )
    graph = model.meta_graphs[0]
    functions = {each.signature.name: each for each in graph.graph_def.library.function}
    refused: dict[str, str] = {}
    promised, size = 0, size_bytes(folder)
    for name in _reachable(functions, _roots(graph)):
        for node in functions[name].node_def:
            if node.op not in functions and not _computes(node.op):
                refused.setdefault(node.op, name)
            tensor = node.attr["value"].tensor if "value" in node.attr else None
            if tensor is not None:
                # A constant may state one number for all of a large array.
                sides = [max(0, dim.size) for dim in tensor.tensor_shape.dim]
                promised += 8 * math.prod(sides)
    require_bounded(folder, promised, size)
    if refused:
        listed = ", ".join(f"{op} (in {name})" for op, name in sorted(refused.items())[:5])
        raise ValueError(
            f"{folder} is refused: its graph has operators that can reach files or run programs: "
            f"{listed}. {_HOW}"
        )


_HOW = "A SavedModel from somebody you trust is opened with `trust=True` (--trust)"


def _computes(name: str) -> bool:
    """Whether an operator takes numbers and gives numbers, and does nothing else."""
    from tensorflow.python.framework import dtypes, op_def_registry

    known = op_def_registry.get(name)
    if known is None or name.startswith(_OTHERS):
        return False
    if known.is_stateful and name not in _STATEFUL:
        return False
    # Names of files are text.
    return all(given.type != dtypes.string.as_datatype_enum for given in known.input_arg)


def _roots(graph: Any) -> Iterator[str]:
    """The functions that loading gives to Python, or runs."""
    objects = graph.object_graph_def
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _reachable(functions: dict[str, Any], roots: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in functions[name].node_def:
            todo.append(node.op)
            for value in node.attr.values():
                todo += [value.func.name, *(each.name for each in value.list.func)]
    return seen
