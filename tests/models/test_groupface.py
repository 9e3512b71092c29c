"""GroupFace: outputs, modes, saving and sizes."""

from __future__ import annotations

import inspect
import json

import keras
import numpy as np
import pytest
from keras import ops
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.backbones import MobileFaceNet
from gfkeras.models import count_macs
from gfkeras.models.properties import model_fingerprint
from gfkeras.saving import load_model

KEYS = {"embedding", "instance", "group_feature", "group_logits"}


def small_backbone() -> keras.Model:
    """Returns a backbone of a few layers, since these tests do not depend on the backbone."""
    images = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(images)
    x = keras.layers.Conv2D(6, 5, strides=4, activation="relu")(x)
    return keras.Model(images, keras.layers.Flatten()(x), name="backbone")


def small_model(**arguments) -> gfkeras.GroupFace:
    arguments = {"embedding_dim": 12, "num_groups": 4, "group_dim": 8, **arguments}
    return gfkeras.GroupFace(small_backbone(), **arguments)


def numpy(outputs):
    return {key: ops.convert_to_numpy(value) for key, value in outputs.items()}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")


@pytest.mark.parametrize("combine", ["add", "concat"])
@pytest.mark.parametrize("shared_dim", [None, 20])
def test_outputs(combine, shared_dim, images):
    model = small_model(combine=combine, shared_dim=shared_dim)
    out = numpy(model(images))
    assert set(out) == KEYS
    assert all(value.dtype == np.float32 for value in out.values())
    assert out["instance"].shape == (3, 12)
    assert out["group_feature"].shape == (3, 8)
    assert out["group_logits"].shape == (3, 4)
    assert out["embedding"].shape == (3, 12 if combine == "add" else 24)
    if combine == "concat":
        np.testing.assert_array_equal(out["embedding"][:, :12], out["instance"])


def test_embedding_is_instance_plus_group(images):
    """Computes v̄ = v + Σ p_k v^{G_k} from the layers' weights in float64."""
    model = small_model(shared_dim=20)
    inner = keras.Model(model.input, model.get_layer("shared_bn").output)
    shared = ops.convert_to_numpy(inner(images)).astype("float64")
    for mode in ("soft", "hard"):
        model.mode = mode
        out = numpy(model(images))
        logits = out["group_logits"].astype("float64")
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        if mode == "hard":
            p = np.eye(4)[logits.argmax(axis=1)]
        kernel, bias = (ops.convert_to_numpy(w) for w in model.ensemble.weights)
        groups = np.einsum("bf,kfd->bkd", shared, kernel) + bias
        expected = out["instance"] + np.einsum("bk,bkd->bd", p, groups)
        np.testing.assert_allclose(out["embedding"], expected, rtol=1e-4, atol=1e-5)


def test_mode_changes_on_a_predicted_model(images):
    model = small_model(shared_dim=None)
    soft = model.predict(images, verbose=0)["embedding"]
    weights = model.get_weights()
    model.mode = "hard"
    hard = model.predict(images, verbose=0)["embedding"]
    assert np.abs(hard - soft).max() > 1e-3
    model.mode = "soft"
    np.testing.assert_allclose(model.predict(images, verbose=0)["embedding"], soft, atol=1e-6)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("combine", ["add", "concat"])
def test_scale_changes_on_a_predicted_model(images, tmp_path, combine):
    model = small_model(shared_dim=None, combine=combine, group_scale=0.5)
    assert model.group_scale == 0.5
    half = model.predict(images, verbose=0)
    model.group_scale = 1.0
    whole = model.predict(images, verbose=0)
    with_groups = model_fingerprint(model)
    model.group_scale = 0.0
    # Thresholds and galleries of another scale belong to another model.
    assert model_fingerprint(model) != with_groups
    nothing = model.predict(images, verbose=0)
    added, v = (whole["embedding"] - nothing["embedding"]), whole["instance"]
    np.testing.assert_allclose(half["embedding"] - nothing["embedding"], added / 2, atol=1e-6)
    # With α = 0, the embedding is v.
    np.testing.assert_allclose(nothing["embedding"][:, : v.shape[1]], v, atol=1e-6)
    assert gfkeras.load(model.save_to(tmp_path / "model")).group_scale == 0
    for wrong in (-0.1, float("nan"), "much"):
        with pytest.raises(ValueError, match="group_scale"):
            model.group_scale = wrong


def test_one_group_is_the_same_soft_and_hard(images):
    model = small_model(num_groups=1, shared_dim=None)
    soft = numpy(model(images))["embedding"]
    model.mode = "hard"
    np.testing.assert_array_equal(soft, numpy(model(images))["embedding"])


def test_round_trip_through_a_folder_keeps_the_mode(images, tmp_path):
    model = small_model(shared_dim=16, combine="concat", dropout=0.2, group_activation="relu")
    model.mode = "hard"
    config = model.get_config()
    missing = set(inspect.signature(gfkeras.GroupFace).parameters) - set(config)
    assert not missing
    twin = gfkeras.load(model.save_to(tmp_path / "model"))
    restored = twin.get_config()
    assert all(restored[name] == config[name] for name in set(config) - {"backbone"})
    assert twin.mode == "hard"
    before, after = numpy(model(images)), numpy(twin(images))
    for key in KEYS:
        np.testing.assert_array_equal(before[key], after[key])


def test_keras_format_round_trip(images, tmp_path):
    backbone = MobileFaceNet(width=0.125, bottlenecks=SMALL_BOTTLENECKS, input_shape=(32, 32, 3))
    model = gfkeras.GroupFace(backbone, embedding_dim=4, num_groups=2, shared_dim=None)
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        numpy(model(images))["embedding"], numpy(twin(images))["embedding"]
    )


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="takes minutes on JAX, with the same sizes"
)
def test_paper_sized_model_has_the_published_parameters_and_flops():
    """R100 with K = 32 and a shared FC of 4096 has 224.5 M parameters, 24.4 and 24.5 GFLOPs."""
    backbone = gfkeras.backbones.IResNet100()
    with keras.device("cpu"):
        model = gfkeras.GroupFace(backbone)
    assert round(model.count_params() / 1e6, 1) == pytest.approx(224.5, abs=0.3)
    assert f"{2 * count_macs(model, 'hard') / 1e9:.1f}" == "24.4"
    assert f"{2 * count_macs(model, 'soft') / 1e9:.1f}" == "24.5"


def test_damaged_folders_are_refused(tmp_path):
    folder = small_model(shared_dim=None).save_to(tmp_path / "model")
    weights = folder / "model.weights.h5"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        load_model(folder)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    weights.write_bytes(bytes(flipped))
    with pytest.raises(ValueError, match="SHA-256"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(ValueError, match="missing"):
        load_model(folder)
    weights.write_bytes(whole)
    load_model(folder)
    config = folder / "config.json"
    text = config.read_text()
    config.write_text(text[:100])
    with pytest.raises(ValueError, match="damaged"):
        load_model(folder)
    config.write_text(json.dumps({**json.loads(text), "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        load_model(folder)
    with pytest.raises(ValueError, match="does not exist"):
        gfkeras.load(tmp_path / "nowhere")


def test_a_failed_save_leaves_the_earlier_model(tmp_path, monkeypatch, images):
    first = small_model(shared_dim=None)
    folder = first.save_to(tmp_path / "model")
    expected = numpy(first(images))["embedding"]
    second = small_model(shared_dim=None)

    def full_disk(path, *_, **__):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(second, "save_weights", full_disk)
    with pytest.raises(OSError, match="No space"):
        second.save_to(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.weights.h5"]
    np.testing.assert_array_equal(numpy(load_model(folder)(images))["embedding"], expected)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"mode": "sotf"}, "mode"),
        ({"combine": "mul"}, "combine"),
        ({"shared_dim": 0}, "shared_dim"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"num_groups": -1}, "num_groups"),
        ({"dropout": 1.0}, "dropout"),
        ({"hard_gradient": "soft"}, "hard_gradient"),
    ],
)
def test_wrong_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        small_model(**arguments)


def test_backbone_must_give_a_flat_feature():
    images = keras.Input((8, 8, 3))
    maps = keras.Model(images, keras.layers.Conv2D(4, 3)(images))
    with pytest.raises(ValueError, match="`backbone` must give a flat feature"):
        gfkeras.GroupFace(maps)
    with pytest.raises(ValueError, match=r"`backbone` must be a keras\.Model"):
        gfkeras.GroupFace("MobileFaceNet")


def test_wrong_mode_later_is_refused():
    model = small_model(shared_dim=None)
    with pytest.raises(ValueError, match="`mode`"):
        model.mode = "medium"
    assert model.mode == "soft"
