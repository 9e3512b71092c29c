"""A real, trained network through the whole path: import, export, verify, evaluate on LFW."""

from __future__ import annotations

import json

import pytest

from gfkeras.cli import main


@pytest.fixture(scope="module")
def imported(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ms1m") / "model"
    params = shared_data / "models" / "mobilefacenet_ms1m-0000.params"
    assert main(["zoo", "import", str(params), "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(
    "form",
    [
        "tflite",
        pytest.param("onnx", marks=pytest.mark.slow),
        pytest.param("keras", marks=pytest.mark.slow),
    ],
)
def test_lfw(form, imported, shared_data, tmp_path):
    model = imported
    if form != "keras":
        model = tmp_path / f"ms1m.{form}"
        assert main(["export", str(imported), "--format", form, "--out", str(model)]) == 0
    result = tmp_path / "result.json"
    arguments = ["--data", str(shared_data / "lfw_aligned112"), "--json", str(result)]
    pairs = str(shared_data / "lfw_lists" / "pairs.txt")
    command = ["evaluate", str(model), "--protocol", "pairs", "--pairs", pairs]
    assert main(command + arguments) == 0
    figures = json.loads(result.read_text())
    assert figures["pairs"] == 6000
    assert figures["skipped"] == 0
    assert figures["accuracy"] == pytest.approx(0.9935, abs=0.0005)
    assert figures["tar_at_far"]["1e-3"] == pytest.approx(0.984, abs=0.002)
