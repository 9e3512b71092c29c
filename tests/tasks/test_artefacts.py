"""`gfkeras.tasks` on models as Python users call them: export, verify, bench, zoo."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import pytest
from data_sets import EACH, PEOPLE, write_people
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.cards.card import read_card
from gfkeras.cli import main
from gfkeras.tasks.bench import bench
from gfkeras.tasks.export import export
from gfkeras.tasks.verify import verify
from gfkeras.tasks.zoo import download_preset, list_presets, show_preset
from gfkeras.zoo import DEFAULT_PRESET

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports need TensorFlow"
)


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An untrained GroupFace in a folder."""
    keras.utils.set_random_seed(0)
    network = gfkeras.GroupFace(
        gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS),
        embedding_dim=16, num_groups=2, shared_dim=None, group_dim=16,
    )  # fmt: skip
    return network.save_to(tmp_path_factory.mktemp("model") / "model")


def json_of(tmp_path: Path, *arguments: object) -> dict:
    """Returns the content of a command's --json file."""
    file = tmp_path / "command.json"
    assert main([*map(str, arguments), "--json", str(file)]) == 0
    return json.loads(file.read_text())


def test_export_verify_and_bench(model, people, tmp_path):
    out = tmp_path / "face.tflite"
    done = export(model, out, mode="hard")
    assert (done.path, done.size_bytes, done.notes) == (out, out.stat().st_size, [])
    assert done.card == read_card(out)
    assert done.int8 is None
    arguments = ("export", model, "--format", "tflite", "--mode", "hard", "--out", out)
    again = json_of(tmp_path, *arguments)
    # Keras numbers layer names, so the second file has another size.
    assert again == done.to_json() | {"size_bytes": out.stat().st_size}

    result = verify(out, model, people, limit=10)
    assert result.passed
    result.require()
    assert (result.parity.images, result.skipped) == (10, [])
    assert result.to_json() == json_of(
        tmp_path, "verify", out, model, "--data", people, "--limit", 10
    )

    measured = bench(out, threads=[1], batch_size=2, repeats=3, record=True, command="by hand")
    assert [each.threads for each in measured.latencies] == [1]
    assert read_card(out)["measured"][0]["command"] == "by hand"
    arguments = ("bench", out, "--threads", 1, "--batch-size", 2, "--repeats", 3)
    assert set(measured.to_json()) == set(json_of(tmp_path, *arguments))


def test_an_artefact_that_is_not_the_models(people, tmp_path):
    """The difference of the bundled int8 artefact is over the tolerance of fp32."""
    fp32 = gfkeras.zoo.registry.zoo_folder() / DEFAULT_PRESET / f"{DEFAULT_PRESET}.tflite"
    int8 = fp32.with_name(f"{DEFAULT_PRESET}_int8.tflite")
    result = verify(int8, fp32, people, limit=PEOPLE * EACH)
    assert result.parity.precision == "int8"
    assert not result.parity.passed("fp32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "int3"}, "`precision` must be one of"),
        ({"precision": "int8"}, r"requires `calibration` \(--calibration DIR\)"),
        ({"calibration": "faces"}, r"require `precision` \(--precision\) int8"),
        ({"format": "tf"}, "`format` must be one of"),
    ],
)
def test_wrong_arguments_of_export(arguments, message):
    with pytest.raises(ValueError, match=message):
        export("none", "out.tflite", **arguments)


def test_fine_tuning_reports_its_batches():
    from gfkeras.export import Int8Settings, QatSettings
    from gfkeras.tasks.export import _reporting

    calls = []
    plain = Int8Settings()
    assert _reporting(plain, lambda *call: calls.append(call)) is plain
    settings = _reporting(Int8Settings(qat=QatSettings(epochs=2)), lambda *call: calls.append(call))
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    data = keras.ops.zeros((6, 1))
    network.fit(
        data, data, batch_size=2, epochs=2, verbose=0, callbacks=list(settings.qat.callbacks)
    )
    assert calls[-1] == ("fine-tune", 6, 6)


def test_zoo(tmp_path):
    found = list_presets()
    assert found.to_json() == json_of(tmp_path, "zoo", "list")
    assert DEFAULT_PRESET in [each.preset.name for each in found.presets]
    shown = show_preset(DEFAULT_PRESET)
    assert shown.where == "bundled"
    assert shown.to_json() == json_of(tmp_path, "zoo", "show", DEFAULT_PRESET)
    done = download_preset(DEFAULT_PRESET, tmp_path / "weights")
    assert done.path.stat().st_size == done.preset.weights.size_bytes
    arguments = ("zoo", "download", DEFAULT_PRESET, "--out", tmp_path / "weights")
    assert done.to_json() == json_of(tmp_path, *arguments)
