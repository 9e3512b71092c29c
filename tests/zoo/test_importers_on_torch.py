"""InsightFace's formats, written by an independent implementation in PyTorch.

PyTorch runs in its own environment (`support/torch_networks.py`). It checks the number of
parameters against the publications, and writes files and embeddings.
"""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

from gfkeras.zoo import import_weights
from gfkeras.zoo.foreign.importing import format_of, read_network

ENDINGS = (".pt", "_legacy.pt", "_checkpoint.pt", ".safetensors", ".onnx")
CLASSES = {
    "mbf": "MobileFaceNet",
    "mbf_large": "MobileFaceNet",
    "r18": "IResNet18",
    "r34": "IResNet34",
    "r50": "IResNet50",
    "r100": "IResNet100",
    "facenet": "InceptionResNetV1",
}


def assert_same_embeddings(folder, name, endings=ENDINGS):
    """Formats of one network give PyTorch's embeddings."""
    values = np.load(folder / f"{name}.npz")
    expected = values["embedding"]
    # The network is not trivial: embeddings of different images differ far more than the tolerance.
    assert np.std(expected, axis=0).mean() > 0.1
    for ending in endings:
        model = import_weights(folder / f"{name}{ending}")
        assert type(model).__name__ == CLASSES[name]
        assert model.embedding_dim == 512
        embedding = keras.ops.convert_to_numpy(model(values["images"][:3]))
        # Compare normalised embeddings: through a hundred layers of random weights, each
        # framework rounds differently.
        ours, theirs = (
            e / np.linalg.norm(e, axis=1, keepdims=True) for e in (embedding, expected[:3])
        )
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5, err_msg=ending)
        np.testing.assert_allclose(embedding, expected[:3], rtol=0, atol=3e-4, err_msg=ending)
        keras.backend.clear_session()


@pytest.fixture(scope="module")
def small(write_torch_files):
    folder = write_torch_files("mbf", "r18")
    yield folder
    # Remove half a gigabyte, which pytest would keep for three sessions.
    shutil.rmtree(folder)


def test_every_format_gives_pytorchs_embeddings(small):
    assert_same_embeddings(small, "mbf", (".pt", ".onnx"))
    paths = [small / f"mbf{ending}" for ending in ENDINGS if ending != ".onnx"]
    expected, *others = (read_network(path, format_of(path)) for path in paths)
    for path, found in zip(paths[1:], others, strict=True):
        for ours, theirs in zip(found.ops, expected.ops, strict=True):
            np.testing.assert_equal(vars(ours), vars(theirs), err_msg=path.name)


def test_an_iresnet_gives_pytorchs_embeddings(small):
    assert_same_embeddings(small, "r18", (".pt", ".onnx"))


def test_facenet_pytorch(write_torch_files, tmp_path):
    folder = write_torch_files("facenet")
    assert_same_embeddings(folder, "facenet", (".pt",))
    safetensors = pytest.importorskip("safetensors.numpy")
    arrays = safetensors.load_file(folder / "facenet.safetensors")
    shutil.rmtree(folder)
    other = tmp_path / "other.safetensors"
    kernel = "repeat_2.3.branch1.1.conv.weight"
    # As DataParallel names the values.
    safetensors.save_file({f"module.{name}": value for name, value in arrays.items()}, other)
    assert import_weights(other).count_params() > 23e6
    for changes, message in (
        ({kernel: np.zeros((128, 128, 3, 3), "float32")}, r"'repeat_2\.3\.branch1\.1\.conv' has"),
        ({"repeat_2.10.conv2d.bias": np.zeros(896, "float32")}, r"also has 'repeat_2\.10\.conv2d'"),
        ({kernel: None}, r"lacks the values of the layers \['repeat_2_3_branch1_1_conv'\]"),
    ):
        changed = {name: value for name, value in (arrays | changes).items() if value is not None}
        safetensors.save_file(changed, other)
        with pytest.raises(ValueError, match=message):
            import_weights(other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mbf_large", "r18", "r34", "r50", "r100"])
def test_the_larger_networks_too(write_torch_files, name):
    folder = write_torch_files(name)
    assert_same_embeddings(folder, name)
    shutil.rmtree(folder)


def test_the_exporter_has_folded_what_the_importer_unfolds(small):
    onnx = pytest.importorskip("onnx")
    kinds = [node.op_type for node in onnx.load(small / "r18.onnx").graph.node]
    # 8 units of three and four shortcuts, stem, trunk, embedding: 31, less than half left.
    assert kinds.count("BatchNormalization") < 15
    assert kinds.count("Conv") == 21


def test_a_truncated_file_is_refused(small, tmp_path):
    for ending in ENDINGS:
        data = (small / f"mbf{ending}").read_bytes()
        for part in (0.2, 0.9, 0.999):
            cut = tmp_path / f"cut{ending}"
            cut.write_bytes(data[: int(len(data) * part)])
            with pytest.raises(ValueError, match=r"damaged|truncated|unknown format"):
                import_weights(cut)


def test_another_network_of_the_same_framework_names_the_difference(small, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    arrays = safetensors.load_file(small / "r18.safetensors")
    other = tmp_path / "other.safetensors"

    wider = {**arrays, "layer2.0.conv1.weight": np.zeros((128, 64, 5, 5), "float32")}
    safetensors.save_file(wider, other)
    with pytest.raises(ValueError, match=r"differs from IResNet18 at the layer 'stage2_block1_a"):
        import_weights(other)

    lacking = {k: v for k, v in arrays.items() if not k.startswith("layer3.1.bn2")}
    safetensors.save_file(lacking, other)
    with pytest.raises(ValueError, match=r"lacks 'layer3\.1\.bn2\.weight'"):
        import_weights(other)

    safetensors.save_file({**arrays, "se.fc.weight": np.zeros(3, "float32")}, other)
    with pytest.raises(ValueError, match=r"also has 'se\.fc\.weight'"):
        import_weights(other)

    safetensors.save_file({"patch_embed.proj.weight": np.zeros(3, "float32")}, other)
    with pytest.raises(ValueError, match="must be the state dict of an IResNet or a Mobile"):
        import_weights(other)
