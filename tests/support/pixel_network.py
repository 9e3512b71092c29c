"""An artefact that embeds mean colours. It needs no Keras, training or export."""

from __future__ import annotations

from pathlib import Path

import onnx.helper

from gfkeras.cards import embed_card


def write_pixel_network(path: Path, side: int = 16) -> str:
    """Writes an ONNX network that maps (B, 112, 112, 3) images to the centred means of squares.

    Args:
        path: the file.
        side: side of a square in pixels. The embedding has 3 (112 / side)² numbers.
    """
    helper = onnx.helper
    numbers = 3 * (112 // side) ** 2
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["images", "middle"], ["centred"]),
            helper.make_node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node(
                "AveragePool", ["planes"], ["means"], kernel_shape=[side] * 2, strides=[side] * 2
            ),
            helper.make_node("Flatten", ["means"], ["embedding"]),
        ],
        "pixels",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["b", 112, 112, 3])],
        [helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["b", numbers])],
        [helper.make_tensor("middle", onnx.TensorProto.FLOAT, [1], [127.5])],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    embed_card(Path(path), {"format": "onnx", "precision": "fp32", "mode": None})
    return str(path)
