"""Operators of a .tflite file that XNNPACK leaves to LiteRT's slower kernels."""

from dataclasses import dataclass
from pathlib import Path

from gfkeras.backend import load_litert

_DELEGATE = "DELEGATE"


@dataclass(frozen=True, slots=True)
class LeftOperator:
    """An operator that XNNPACK does not run.

    Attributes:
        index: its place in the file, from 0.
        name: name of the operator, such as "PRELU".
        dtype, tensor: dtype and name of its first output.
    """

    index: int
    name: str
    dtype: str
    tensor: str


def left_operators(path: Path) -> tuple[LeftOperator, ...]:
    """Returns the operators that run outside the delegate for one image, in the file's order.

    Without a delegate, these are all operators.
    """
    litert = load_litert()
    interpreter = litert.Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    everything = interpreter._get_ops_details()
    delegates = [op for op in everything if op["op_name"] == _DELEGATE]
    operators = [op for op in everything if op["op_name"] != _DELEGATE]
    taken = _taken(operators, delegates)
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    found = []
    for op in operators:
        if int(op["index"]) not in taken:
            dtype = getattr(op["result_types"][0], "__name__", str(op["result_types"][0]))
            tensor = names[int(op["outputs"][0])]
            found.append(LeftOperator(int(op["index"]), op["op_name"], dtype, tensor))
    return tuple(found)


def _taken(operators: list[dict], delegates: list[dict]) -> set[int]:
    """Returns the operators inside a delegate: all between its inputs and its outputs.

    LiteRT lists the delegates after the file's operators and does not state which operators they
    run.
    """
    producer = {int(tensor): op for op in operators for tensor in op["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        outside = {int(tensor) for tensor in delegate["inputs"]}
        waiting = [int(tensor) for tensor in delegate["outputs"]]
        while waiting:
            tensor = waiting.pop()
            op = producer.get(tensor)
            # A tensor without a producer is a constant.
            if op is None or tensor in outside or int(op["index"]) in taken:
                continue
            taken.add(int(op["index"]))
            waiting += [int(each) for each in op["inputs"] if each >= 0]
    return taken
