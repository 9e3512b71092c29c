"""Parameters and multiply-accumulates of the backbones against the numbers of their papers."""

from __future__ import annotations

import functools
import re
from typing import Any

import keras
import numpy as np
import pytest
from markdown_blocks import ROOT

from gfkeras import backbones
from gfkeras.models import count_macs

# Tables 1 and 2 of FaceNet as printed: parameters and multiply-accumulates by the beginning of the
# names of our layers.
NN1 = {
    "conv1": ("9K", "115M"), "conv2a": ("4K", "13M"), "conv2": ("111K", "335M"),
    "conv3a": ("37K", "29M"), "conv3": ("664K", "521M"), "conv4a": ("148K", "29M"),
    "conv4": ("885K", "173M"), "conv5a": ("66K", "13M"), "conv5": ("590K", "116M"),
    "conv6a": ("66K", "13M"), "conv6": ("590K", "116M"), "fc1": ("103M", "103M"),
    "fc2": ("34M", "34M"), "embedding": ("524K", "0.5M"), "": ("140M", "1.6B"),
}  # fmt: skip
NN2 = {
    "conv1": ("9K", "119M"), "inception2": ("115K", "360M"), "inception3a": ("164K", "128M"),
    "inception3b": ("228K", "179M"), "inception3c": ("398K", "108M"),
    "inception4a": ("545K", "107M"), "inception4b": ("595K", "117M"),
    "inception4c": ("654K", "128M"), "inception4d": ("722K", "142M"),
    "inception4e": ("717K", "56M"), "inception5a": ("1.6M", "78M"),
    "inception5b": ("1.6M", "78M"), "embedding": ("131K", "0.1M"), "": ("7.5M", "1.6B"),
}  # fmt: skip

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="takes minutes on JAX, with the same sizes"
)


@functools.cache
def built(name: str, embedding_dim: int, **arguments: Any) -> keras.Model:
    """Builds a backbone without values for its weights, which saves time and memory."""
    with keras.StatelessScope(initialize_variables=False):
        return backbones.get(name, embedding_dim=embedding_dim, **arguments)


def trainable_parameters(model: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def prelu_parameters(model: keras.Model) -> int:
    return sum(
        layer.count_params() for layer in model.layers if isinstance(layer, keras.layers.PReLU)
    )


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_the_page_of_backbones_has_the_sizes(name):
    page = (ROOT / "docs" / "backbones.md").read_text()
    (cells,) = re.findall(rf"^\| `{name}` \|(.*)\|.*\|$", page, re.M)
    size, dim, parameters, macs = (cell.strip().replace(",", "") for cell in cells.split("|"))
    model = built(name, int(dim))
    assert "{}×{}".format(*model.input_shape[1:3]) == size
    assert trainable_parameters(model) == int(parameters)
    assert f"{count_macs(model) / 1e6:.0f} M" == macs


def test_mobilefacenet_has_the_papers_size():
    model = built("MobileFaceNet", 128)
    assert trainable_parameters(model) == 1_003_136
    assert trainable_parameters(model) - prelu_parameters(model) == 995_584
    assert round(count_macs(model) / 1e6) == 221
    # The network has 7,552 slopes. In the published weights, 96 of them are above 1.
    assert prelu_parameters(model) == 7_552


def test_insightface_mobilefacenet_has_the_published_size():
    model = built("MobileFaceNet", 512, variant="insightface")
    assert f"{trainable_parameters(model) / 1e6:.2f}" == "2.06"
    assert int(count_macs(model) / 1e6) == 437


@pytest.mark.parametrize(
    ("name", "millions", "giga_macs"),
    [
        ("IResNet18", "24.03", "2.61"),
        ("IResNet34", "34.14", "4.46"),
        ("IResNet50", "43.59", "6.31"),
        ("IResNet100", "65.16", "12.09"),
    ],
)
def test_iresnet_has_the_published_size(name, millions, giga_macs):
    model = built(name, 512)
    assert f"{trainable_parameters(model) / 1e6:.2f}" == millions
    assert f"{count_macs(model) / 1e9:.2f}" == giga_macs


def as_printed(number: str) -> object:
    """Returns what equals all numbers that may be printed as "545K", rounded or cut off."""
    digits, unit = number[:-1], {"K": 1e3, "M": 1e6, "B": 1e9}[number[-1]]
    step = unit / 10 ** len(digits.partition(".")[2])
    return pytest.approx(float(digits) * unit, abs=0.6 * step)


@pytest.mark.parametrize(("name", "rows"), [("FaceNetNN1", NN1), ("FaceNetNN2", NN2)])
def test_facenet_has_the_rows_of_the_papers_tables(name, rows):
    model = built(name, 128)
    for row, (parameters, macs) in rows.items():
        layers = [each for each in model.layers if row in ("", each.name.split("_")[0])]
        counts = [each.count_params() for each in layers]
        # The paper counts biases too, once for every place.
        places = [int(np.prod(each.output.shape[1:-1])) for each in layers]
        assert sum(counts) == as_printed(parameters), row
        assert np.dot(counts, places) == as_printed(macs), row
    assert count_macs(model) == as_printed("1.6B")


@pytest.mark.parametrize(
    ("name", "size", "millions", "mega_macs"),
    [
        # 285 M and the lower end of "6.6M-7.5M" are printed in the paper's section 3.3.
        ("FaceNetNN4", (96, 96), 6.6, 285),
        ("FaceNetNNS1", (165, 165), 26, 220),
        ("FaceNetNNS2", (140, 116), 4.3, 20),
    ],
)
def test_small_facenets_have_the_papers_sizes(name, size, millions, mega_macs):
    model = built(name, 128)
    assert model.input_shape[1:3] == size
    assert trainable_parameters(model) / 1e6 == pytest.approx(millions, rel=2e-3)
    assert count_macs(model) / 1e6 == pytest.approx(mega_macs, rel=7e-3)


def test_facenet_nn3_is_nn2_at_160():
    nn2, nn3 = built("FaceNetNN2", 128, input_shape=(160, 160, 3)), built("FaceNetNN3", 128)
    assert nn3.get_config() | {"name": None} == nn2.get_config() | {"name": None}
    assert [v.shape for v in nn2.weights] == [v.shape for v in nn3.weights]


@pytest.mark.parametrize(
    ("depth", "units", "size"),
    [
        (4, (0, 0, 0, 0), (112, 96)),
        (4, (0, 0, 0, 0), (112, 112)),
        (10, (0, 1, 2, 0), (112, 96)),
        (20, (1, 2, 4, 1), (112, 96)),
        (20, (1, 2, 4, 1), (112, 112)),
        (36, (2, 4, 8, 2), (112, 96)),
        (64, (3, 8, 16, 3), (112, 96)),
    ],
)
def test_sphereface_has_the_layers_of_the_papers_table(depth, units, size):
    """The paper prints no counts. They follow from its table of layers and Caffe's biases."""
    assert sum(1 + 2 * count for count in units) == depth
    parameters, macs, inputs, places = 0, 0, 3, size[0] * size[1]
    for count, channels in zip(units, (64, 128, 256, 512), strict=True):
        kernels = 9 * inputs * channels + 2 * count * 9 * channels**2
        places, inputs = places // 4, channels
        macs += kernels * places
        # A bias for the first convolution, and the slopes of each.
        parameters += kernels + channels + (1 + 2 * count) * channels
    embedding = 512 * places * 512
    shape = {} if size == (112, 96) else {"input_shape": (*size, 3)}
    model = built(f"SphereFaceNet{depth}", 512, **shape)
    assert trainable_parameters(model) == parameters + embedding + 512
    assert count_macs(model) == macs + embedding


def test_inception_resnet_has_the_size_of_facenet_pytorch():
    model = built("InceptionResNetV1", 512)
    # facenet-pytorch's network without its classifier. Its scales γ are all 1 in the weights of
    # facenet, which has none: OpenVINO's model page counts 23.469 million and 2.846 GFLOPs.
    assert trainable_parameters(model) == 23_482_624
    assert model.get_layer("feature").output.shape == (None, 1792)
    scales = sum(
        layer.gamma.shape[0] for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )  # fmt: skip
    assert (trainable_parameters(model) - scales) / 1e6 == pytest.approx(23.469, abs=6e-3)
    assert 2 * count_macs(model) / 1e9 == pytest.approx(2.846, rel=5e-3)
