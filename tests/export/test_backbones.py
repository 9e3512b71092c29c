"""Export of every backbone by every converter, with grouped convolutions and residual units."""

from __future__ import annotations

import numpy as np
import pytest

from gfkeras import backbones
from gfkeras.export import export_model, verify
from gfkeras.inference import Embedder

BACKBONES = {
    "insightface": (
        "MobileFaceNet",
        {
            "variant": "insightface",
            "width": 0.125,
            "bottlenecks": ((128, 128, 1, 2), (128, 128, 1, 1)),
            "input_shape": (32, 32, 3),
        },
    ),
    "iresnet": ("IResNet18", {"input_shape": (16, 16, 3), "dropout": 0.4}),
}
SUFFIX = {"tflite": ".tflite", "onnx": ".onnx", "savedmodel": ""}


@pytest.mark.parametrize("key", ["insightface", pytest.param("iresnet", marks=pytest.mark.slow)])
def test_backbone_in_every_format(key, as_trained, tmp_path):
    name, arguments = BACKBONES[key]
    model = backbones.get(name, embedding_dim=16, **arguments)
    shape = (8, *model.input_shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    as_trained(model, images)
    for form, suffix in SUFFIX.items():
        path = export_model(model, tmp_path / f"{form}{suffix}", format=form)
        result = verify(Embedder(model), Embedder(path), images)
        assert result.passed(), (form, result.to_json())
