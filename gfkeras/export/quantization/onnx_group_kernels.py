"""The weights of an ONNX file's group ensemble as int8."""

from __future__ import annotations

from typing import Any

import numpy as np

from gfkeras.errors import require

_LARGEST = 127


def quantize_group_kernels(model: Any) -> None:
    """Stores each kernel of three axes that is gathered from as int8, with a scale for each row.

    One group's weights and scales are gathered and made float: W[k] = s[k]·Ŵ[k].

    Args:
        model: ONNX; changed in place.
    """
    onnx: Any = require("onnx", "export")
    graph = model.graph
    kernels = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 2
    }
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in kernels:
            nodes.append(node)
            continue
        kernel = kernels[node.input[0]]
        values = onnx.numpy_helper.to_array(kernel)
        scale = np.abs(values).max(axis=-1, keepdims=True) / _LARGEST
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        integers = np.round(values / scale).astype(np.int8)
        name, index, result = kernel.name, node.input[1], node.output[0]
        # Written with raw bytes, as protobuf would give an int8 a number of up to 10 bytes.
        kernel.CopyFrom(onnx.numpy_helper.from_array(integers, name))
        graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}/scale"))
        make = onnx.helper.make_node
        nodes += [
            make("Gather", [name, index], [f"{result}/int8"], axis=0),
            make("Gather", [f"{name}/scale", index], [f"{result}/scale"], axis=0),
            make("Cast", [f"{result}/int8"], [f"{result}/cast"], to=onnx.TensorProto.FLOAT),
            make("Mul", [f"{result}/cast", f"{result}/scale"], [result]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
