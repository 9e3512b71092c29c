"""Check of a SavedModel's graph for operators that can reach files or run Python.

TensorFlow has operators that read, write and list files, and operators that call Python. All
functions of a SavedModel that could run are searched for them before TensorFlow loads the model.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gfkeras.archives import require_bounded
from gfkeras.files import size_bytes

GRAPH_FILE = "saved_model.pb"
# TensorFlow marks operators that do more than compute as stateful. The following stateful operators
# are allowed: they access variables, call functions of the graph, check values or draw random
# numbers.
_STATEFUL = frozenset([
    "VarHandleOp", "ReadVariableOp", "AssignVariableOp", "AssignAddVariableOp",
    "AssignSubVariableOp", "VarIsInitializedOp", "DisableCopyOnRead", "ResourceGather",
    "ResourceGatherNd", "StatefulPartitionedCall", "While", "If", "Case", "Assert", "XlaCallModule",
    "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "Multinomial",
    "RngReadAndSkip", "StatefulStandardNormalV2", "StatefulUniform",
])  # fmt: skip
# These are not marked as stateful, but they map a file, call Python, or write to a path in an
# attribute.
_OTHERS = ("ImmutableConst", "PyFunc", "EagerPyFunc", "Debug", "Copy", "_")


def check_operators(folder: Path) -> None:
    """Raises ValueError if a SavedModel has operators that can reach files or run Python.

    Each SavedModel has functions that save and restore its own variables. They are ignored unless
    another function can call them, because loading does not run them.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    if (folder / "saved_model.cpb").exists():
        raise ValueError(f"{folder} is refused: its graph is split into several files. {_HOW}")
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / GRAPH_FILE).read_bytes())
    if not model.meta_graphs:
        raise ValueError("it has no graph")
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].object_graph_def.nodes:
        raise ValueError(
            f"{folder} is refused: it has the format of TensorFlow 1, which runs operators "
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
                # A constant can state a single number for a large array. Its full size counts.
                sides = [max(0, dim.size) for dim in tensor.tensor_shape.dim]
                promised += 8 * math.prod(sides)
    require_bounded(folder, promised, size)
    if refused:
        listed = ", ".join(f"{op} (in {name})" for op, name in sorted(refused.items())[:5])
        raise ValueError(
            f"{folder} is refused: its graph has operators that can reach files or run programs: "
            f"{listed}. {_HOW}"
        )


_HOW = "If you trust its source, open it with `trust=True` (--trust)"


def _computes(name: str) -> bool:
    """Returns whether an operator only computes numbers from numbers."""
    from tensorflow.python.framework import dtypes, op_def_registry

    known = op_def_registry.get(name)
    if known is None or name.startswith(_OTHERS):
        return False
    if known.is_stateful and name not in _STATEFUL:
        return False
    # Operators that open files take their names as text.
    return all(given.type != dtypes.string.as_datatype_enum for given in known.input_arg)


def _roots(graph: Any) -> Iterator[str]:
    """Yields the functions that loading runs or makes available in Python."""
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
