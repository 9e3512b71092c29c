"""Export of every backbone by every converter, with grouped convolutions and residual units."""

from __future__ import annotations

import keras
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
    "sphereface": ("SphereFaceNet10", {"width": 0.125, "input_shape": (32, 16, 3)}),
    "zeiler-fergus": ("FaceNetNN1", {"width": 0.125, "input_shape": (33, 18, 3)}),
    "inception": ("FaceNetNNS2", {"width": 0.5, "input_shape": (35, 29, 3)}),
    "inception-resnet": (
        "InceptionResNetV1",
        {"width": 0.125, "repeats": (1, 1, 0), "input_shape": (75, 80, 3), "dropout": 0.4},
    ),
}
# The layers of the others are in these and in tests of preparation.
QUICK = ("insightface", "sphereface", "inception")
SUFFIX = {"tflite": ".tflite", "onnx": ".onnx", "savedmodel": ""}


@pytest.fixture(scope="module")
def trained(as_trained):
    """Builds a small backbone with weights like trained ones, and 64 smooth images for it."""

    def make(key: str) -> tuple[keras.Model, np.ndarray]:
        name, arguments = BACKBONES[key]
        keras.utils.set_random_seed(0)
        model = backbones.get(name, embedding_dim=16, **arguments)
        height, width, _ = model.input_shape[1:]
        rng = np.random.default_rng(0)
        coarse = rng.uniform(20, 236, (64, 8, 8, 3)).repeat(10, axis=1).repeat(10, axis=2)
        images = coarse[:, :height, :width] + rng.uniform(-20, 20, (64, height, width, 3))
        images = (images * (1, 0.9, 0.7)).astype("uint8")
        return as_trained(model, images[:8]), images

    return make


@pytest.mark.parametrize(
    "key", [key if key in QUICK else pytest.param(key, marks=pytest.mark.slow) for key in BACKBONES]
)
def test_backbone_in_every_format(key, trained, tmp_path):
    model, images = trained(key)
    images = images[:8]
    assert np.abs(np.diff(np.asarray(model(images)), axis=0)).max() > 0.1
    for form, suffix in SUFFIX.items():
        path = export_model(model, tmp_path / f"{form}{suffix}", format=form)
        result = verify(Embedder(model), Embedder(path), images)
        assert result.passed(), (form, result.to_json())


def test_int8_without_batch_normalization(trained, tmp_path):
    """Slopes above 1 in residual units, where no layer can take the changed sign."""
    model, images = trained("sphereface")
    path = export_model(model, tmp_path / "int8.tflite", precision="int8", calibration=images)
    result = verify(Embedder(model), Embedder(path), images)
    assert result.passed(), result.to_json()
    assert result.mean_cosine > 0.998
    assert Embedder(path).image_size == (32, 16)
