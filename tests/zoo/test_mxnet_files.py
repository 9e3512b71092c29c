"""MXNet's .params format, with bytes written by this test and with a real network."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from gfkeras.zoo import import_weights
from gfkeras.zoo.foreign import read_mxnet_params


def params_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Writes MXNet 1.x's NDArray list in the layout of its C++ source."""
    codes = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5}
    data = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        data += struct.pack("<Ii", 0xF993FAC9, 0)
        data += struct.pack("<I", array.ndim) + struct.pack(f"<{array.ndim}q", *array.shape)
        data += struct.pack("<iii", 1, 0, codes[array.dtype.name]) + array.tobytes()
    data += struct.pack("<Q", len(arrays))
    for name in arrays:
        data += struct.pack("<Q", len(name.encode())) + name.encode()
    return data


ARRAYS = {
    "arg:a": np.arange(6, dtype="float32").reshape(2, 3),
    "aux:b": np.array([1, -2], "int32"),
    "arg:c": np.ones((1, 2, 3, 4), "float16"),
}


def test_reads_what_the_format_says(tmp_path):
    path = tmp_path / "net-0000.params"
    path.write_bytes(params_bytes(ARRAYS))
    result = read_mxnet_params(path)
    assert list(result) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(result[name], array)
        assert result[name].dtype == array.dtype


def test_every_truncation_is_refused(tmp_path):
    whole = params_bytes(ARRAYS)
    path = tmp_path / "net.params"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"net\.params"):
            read_mxnet_params(path)


def test_a_hostile_length_allocates_nothing(tmp_path):
    data = struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<Ii", 0xF993FAC9, 0)
    data += struct.pack("<I2q", 2, 2**62, 2**62) + struct.pack("<iii", 1, 0, 0)
    path = tmp_path / "net.params"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="truncated or damaged"):
        read_mxnet_params(path)


def test_the_real_network_loads_exactly(shared_data):
    models = shared_data / "models"
    model = import_weights(models / "mobilefacenet_ms1m-0000.params")
    assert model.embedding_dim == 128
    # fc1 has a bias, fix_gamma and its own eps. Compare the folded BN with the formula.
    arrays = read_mxnet_params(models / "mobilefacenet_ms1m-0000.params")
    x = np.random.default_rng(0).normal(size=(4, 512))
    full = x @ arrays["arg:fc1_weight"].T.astype("float64") + arrays["arg:pre_fc1_bias"]
    expected = (full - arrays["aux:fc1_moving_mean"]) / np.sqrt(
        arrays["aux:fc1_moving_var"].astype("float64") + 2e-5
    ) + arrays["arg:fc1_beta"]
    fc, bn = model.get_layer("embedding_fc"), model.get_layer("embedding_bn")
    gamma, beta, mean, variance = (np.asarray(w, "float64") for w in bn.get_weights())
    ours = (x @ fc.get_weights()[0].astype("float64") - mean) * gamma / np.sqrt(
        variance + bn.epsilon
    ) + beta
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_network_that_does_not_fit_names_the_first_layer(shared_data, tmp_path):
    models = shared_data / "models"
    symbol = json.loads((models / "mobilefacenet_ms1m-symbol.json").read_text())
    fourth = [node for node in symbol["nodes"] if node["op"] == "Convolution"][3]
    arrays = read_mxnet_params(models / "mobilefacenet_ms1m-0000.params")
    weight = "arg:" + symbol["nodes"][fourth["inputs"][1][0]]["name"]
    arrays[weight] = arrays[weight][:, :, :1]
    (tmp_path / "net-0001.params").write_bytes(params_bytes(arrays))
    (tmp_path / "net-symbol.json").write_text(json.dumps(symbol))
    with pytest.raises(ValueError, match="differs from MobileFaceNet at the layer 'stage1_block1"):
        import_weights(tmp_path / "net-0001.params")


def test_missing_symbol_is_named(tmp_path):
    path = tmp_path / "net-0000.params"
    path.write_bytes(params_bytes(ARRAYS))
    with pytest.raises(ValueError, match=r"net-symbol\.json is missing"):
        import_weights(path)
