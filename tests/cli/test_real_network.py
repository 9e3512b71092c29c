"""A real, trained network through the whole path: import, export, verify, evaluate on LFW."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gfkeras.cli import main


@pytest.fixture(scope="module")
def imported(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ms1m") / "model"
    params = shared_data / "models" / "mobilefacenet_ms1m-0000.params"
    assert main(["zoo", "import", str(params), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def tflite(imported, tmp_path_factory):
    path = tmp_path_factory.mktemp("tflite") / "fp32.tflite"
    assert main(["export", str(imported), "--format", "tflite", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def some_pairs(shared_data, tmp_path_factory):
    """A tenth of the pairs of each fold: 30 genuine and 30 impostor pairs."""
    lines = (shared_data / "lfw_lists" / "pairs.txt").read_text().splitlines()[1:]
    kept = [line for start in range(0, 6000, 300) for line in lines[start : start + 30]]
    path = tmp_path_factory.mktemp("pairs") / "pairs.txt"
    path.write_text("\n".join(["10\t30", *kept]) + "\n")
    return path


def on_lfw(model: Path, pairs: Path, shared_data: Path, tmp_path: Path) -> dict:
    result = tmp_path / "result.json"
    arguments = ["--data", str(shared_data / "lfw_aligned112"), "--json", str(result)]
    command = ["evaluate", str(model), "--protocol", "pairs", "--pairs", str(pairs)]
    assert main(command + arguments) == 0
    figures = json.loads(result.read_text())
    assert figures["skipped"] == 0
    return figures


def test_some_of_lfw(tflite, some_pairs, shared_data, tmp_path):
    figures = on_lfw(tflite, some_pairs, shared_data, tmp_path)
    assert figures["pairs"] == 600
    assert figures["accuracy"] >= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tflite", "onnx", "keras"])
def test_lfw(form, imported, tflite, shared_data, tmp_path):
    model = {"keras": imported, "tflite": tflite}.get(form)
    if model is None:
        model = tmp_path / f"ms1m.{form}"
        assert main(["export", str(imported), "--format", form, "--out", str(model)]) == 0
    pairs = shared_data / "lfw_lists" / "pairs.txt"
    figures = on_lfw(model, pairs, shared_data, tmp_path)
    assert figures["pairs"] == 6000
    assert figures["accuracy"] == pytest.approx(0.9935, abs=0.0005)
    assert figures["tar_at_far"]["1e-3"] == pytest.approx(0.984, abs=0.002)


def people_of_pairs(lists: Path) -> set[str]:
    rows = [line.split("\t") for line in (lists / "pairs.txt").read_text().splitlines()[1:]]
    return {name for row in rows for name in row if not name.strip().isdigit()}


@pytest.fixture(scope="module")
def calibration(shared_data, tmp_path_factory):
    """One face of each of 96 people who are not in a test pair."""
    folder = tmp_path_factory.mktemp("calibration")
    lists = shared_data / "lfw_lists"
    scored = people_of_pairs(lists)
    rows = (lists / "peopleDevTrain.txt").read_text().splitlines()[1:]
    people = [row.split("\t")[0] for row in rows]
    for name in [name for name in people if name not in scored][:96]:
        first = min((shared_data / "lfw_aligned112" / name).iterdir())
        (folder / first.name).symlink_to(first)
    return folder


@pytest.fixture(scope="module")
def int8(imported, calibration, shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    detector = shared_data / "models" / "face_detection_yunet_2023mar.onnx"
    command = ["export", str(imported), "--format", "tflite"]
    command += ["--precision", "int8", "--calibration", str(calibration)]
    command += ["--detector", str(detector), "--json", str(folder / "export.json")]
    assert main([*command, "--out", str(folder / "int8.tflite")]) == 0
    return folder


# Choosing the ranges takes a minute. `export/test_quantization.py` has int8 of small networks, and
# `zoo/test_presets.py` the int8 file of the bundled model.
@pytest.mark.slow
def test_int8(int8, imported, tflite, shared_data, tmp_path):
    """int8 of a network whose channels differ as much as in a trained one."""
    folder = tmp_path / "faces"
    folder.mkdir()
    rows = (shared_data / "lfw_lists" / "peopleDevTest.txt").read_text().splitlines()[1:]
    for row in rows[:100]:
        name = row.split("\t")[0]
        (folder / name).symlink_to(shared_data / "lfw_aligned112" / name)
    made = json.loads((int8 / "export.json").read_text())["int8"]
    assert made["mean_cosine"][made["statistic"]] >= 0.995
    assert made["group_agreement"] is None
    artefact, result = int8 / "int8.tflite", tmp_path / "result.json"
    command = ["verify", str(artefact), str(imported), "--data", str(folder)]
    assert main([*command, "--limit", "100", "--json", str(result)]) == 0
    assert json.loads(result.read_text())["mean_cosine"] >= 0.995
    assert artefact.stat().st_size <= 0.30 * tflite.stat().st_size


@pytest.mark.slow
def test_int8_on_lfw(int8, shared_data, tmp_path):
    result = tmp_path / "result.json"
    data, lists = shared_data / "lfw_aligned112", shared_data / "lfw_lists"
    command = ["evaluate", str(int8 / "int8.tflite"), "--protocol", "pairs", "--data", str(data)]
    assert main([*command, "--pairs", str(lists / "pairs.txt"), "--json", str(result)]) == 0
    figures = json.loads(result.read_text())
    assert figures["accuracy"] >= 0.9930
    assert figures["tar_at_far"]["1e-3"] >= 0.982


def test_calibration_without_faces(imported, calibration, shared_data, tmp_path, capfd):
    import numpy as np
    from PIL import Image

    detector = str(shared_data / "models" / "face_detection_yunet_2023mar.onnx")
    noise = tmp_path / "noise"
    noise.mkdir()
    rng = np.random.default_rng(0)
    for index in range(40):
        image = rng.integers(0, 256, (112, 112, 3), np.uint8)
        Image.fromarray(image).save(noise / f"{index}.png")
    out = tmp_path / "int8.tflite"
    command = ["export", str(imported), "--format", "tflite", "--precision", "int8"]
    command += ["--detector", detector, "--out", str(out), "--calibration"]
    assert main([*command, str(noise)]) == 2
    error = capfd.readouterr().err
    assert "with 40 of 40 images without a face" in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "precision", "cosine", "size"),
    [
        ("onnx", "int8", 0.995, 0.31),
        ("onnx", "fp16", 0.9999, 0.52),
        ("tflite", "int8-dynamic", 0.998, 0.29),
        ("tflite", "int4-dynamic", 0.95, 0.19),
        ("tflite", "int4-weights", 0.93, 0.18),
    ],
)
def test_further_precisions(
    form, precision, cosine, size, imported, calibration, shared_data, tmp_path
):
    """A real network, and the bundled model, whose groups stay the same."""
    people = (shared_data / "lfw_lists" / "peopleDevTest.txt").read_text().splitlines()[1:]
    folder = tmp_path / "faces"
    folder.mkdir()
    for row in people[:200]:
        name = row.split("\t")[0]
        (folder / name).symlink_to(shared_data / "lfw_aligned112" / name)
    for model in (str(imported), "h_groupface_mobilefacenet"):
        command = ["export", model, "--format", form, "--out"]
        assert main([*command, str(tmp_path / f"fp32.{form}")]) == 0
        if precision == "int8":
            detector = shared_data / "models" / "face_detection_yunet_2023mar.onnx"
            command[-1:] = ["--calibration", str(calibration), "--detector", str(detector), "--out"]
        path = tmp_path / f"a.{form}"
        assert main([*command, str(path), "--precision", precision]) == 0
        result = tmp_path / "result.json"
        command = ["verify", str(path), model, "--data", str(folder), "--json", str(result)]
        assert main([*command, "--limit", "200"]) == 0
        found = json.loads(result.read_text())
        assert found["mean_cosine"] >= cosine
        assert found["group_agreement"] >= (0.96 if precision == "int4-dynamic" else 0.98)
        # In these precisions, the group weights of the bundled model stay float.
        if model == str(imported):
            assert path.stat().st_size <= size * (tmp_path / f"fp32.{form}").stat().st_size
