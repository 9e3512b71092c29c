"""The models of the zoo: their descriptions, cards, golden embeddings, and the README's table."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
import tomli_w
from blocking import WITHOUT_TENSORFLOW
from processes import run_python
from small_networks import SMALL_BOTTLENECKS

import gfkeras
from gfkeras.cards.card import read_card
from gfkeras.cli import main
from gfkeras.data.alignment import detector
from gfkeras.models.properties import model_fingerprint
from gfkeras.training import Recipe
from gfkeras.zoo import DEFAULT_PRESET, registry
from gfkeras.zoo.foreign import FORMATS
from gfkeras.zoo.golden import Golden
from gfkeras.zoo.preset_files import artefact_path, keras_source, preset_named
from gfkeras.zoo.registry import (
    FOREIGN_FORMATS,
    GOLDEN_FILE,
    MODEL_FILE,
    OWN_FORMAT,
    RECIPE_FILE,
    ExportVariant,
    Preset,
)
from gfkeras.zoo.table import BEGIN, END, markdown_table, write_into

ROOT = Path(__file__).resolve().parents[2]
NAMES = registry.preset_names()
OURS = [name for name in NAMES if registry.read_preset(name).weights.format == OWN_FORMAT]


def test_the_zoo_is_there():
    assert {DEFAULT_PRESET, "w600k_mbf", "w600k_r50", detector.YUNET_PRESET} <= set(NAMES)
    assert OURS == [DEFAULT_PRESET]
    assert tuple(FORMATS) == FOREIGN_FORMATS


@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_description(name):
    preset = registry.read_preset(name)
    for text in (preset.summary, preset.licence.name, preset.provenance.by,
                 preset.training_data.name):  # fmt: skip
        assert text.strip()
    card = (preset.folder / "README.md").read_text()
    for heading in ("## Use", "## Limits", "## Bias and consent", "## Licence"):
        assert heading in card, heading


@pytest.mark.parametrize("name", NAMES)
def test_every_result_has_its_command_or_its_source(name):
    for result in registry.read_preset(name).results:
        if result.by:
            assert not result.command
        else:
            assert result.command.startswith(("gfkeras ", "python "))
            assert result.date is not None


@pytest.mark.parametrize("name", OURS)
def test_our_model_comes_with_all_files(name):
    preset = registry.read_preset(name)
    assert preset.in_the_box
    assert preset.weights.size_bytes <= 6_000_000
    assert preset.exports
    assert preset.thresholds is not None
    assert (preset.folder / RECIPE_FILE).is_file()
    for stage in preset.folder.glob("recipe*.toml"):
        Recipe.read(stage)


@pytest.mark.parametrize("name", OURS)
def test_keras_gives_the_golden_embeddings(name):
    golden = Golden.load(registry.zoo_folder() / name / GOLDEN_FILE)
    found = gfkeras.Embedder(gfkeras.load(name))(golden.images)
    # Different people differ and images of one person are similar: the network is not constant.
    cosines = golden.embedding @ golden.embedding.T
    assert cosines[0, 1] > cosines[0, 2:].max()
    assert golden.largest_error(found.embedding) < 1e-4
    np.testing.assert_array_equal(found.group, golden.group)


@pytest.mark.parametrize("name", OURS)
def test_jax_gives_the_golden_embeddings(name):
    pytest.importorskip("jax")
    code = f"""
import gfkeras
from gfkeras.zoo import registry
from gfkeras.zoo.golden import Golden
golden = Golden.load(registry.zoo_folder() / {name!r} / {GOLDEN_FILE!r})
embedder = gfkeras.Embedder(gfkeras.load({name!r}))
print(golden.largest_error(embedder(golden.images).embedding))
"""
    # As in the Makefile: here, compiling takes longer than running.
    flags = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    # Keras would import TensorFlow, which takes seconds.
    (error,) = run_python(WITHOUT_TENSORFLOW + code, KERAS_BACKEND="jax", XLA_FLAGS=flags)
    assert error < 1e-4


@pytest.mark.parametrize("name", OURS)
def test_a_preset_that_ships_its_artefact_needs_no_keras(name):
    code = f"""
import sys
import gfkeras
from gfkeras.zoo import registry
from gfkeras.zoo.golden import Golden
golden = Golden.load(registry.zoo_folder() / {name!r} / {GOLDEN_FILE!r})
embedder = gfkeras.Embedder({name!r})
found = embedder(golden.images)
differ = int((found.group != golden.group).sum())
print((golden.largest_error(found.embedding), differ, embedder.fingerprint))
print(sorted({{"keras", "tensorflow", "jax"}} & set(sys.modules)))
"""
    (error, differ, fingerprint), heavy = run_python(code)
    assert error < 1e-5
    assert (differ, heavy) == (0, [])
    # Galleries and thresholds of the Keras model work with the artefact.
    assert fingerprint == model_fingerprint(gfkeras.load(name))


@pytest.mark.parametrize("name", OURS)
def test_the_shipped_artefacts(name):
    preset = registry.read_preset(name)
    golden = Golden.load(preset.folder / GOLDEN_FILE)
    for precision, least in (("fp32", 0.999999), ("int8", 0.99)):
        path = artefact_path(name, precision)
        assert path is not None
        assert path.name == ExportVariant(format="tflite", precision=precision).file_name(name)
        card = read_card(path)
        assert (card["precision"], card["mode"]) == (precision, "hard")
        assert card["thresholds"]["at_far"] == preset.thresholds.at_far
        assert golden.least_cosine(gfkeras.Embedder(path)(golden.images).embedding) > least
    assert artefact_path(name, "fp16") is None


@pytest.fixture
def exported(own_zoo, tmp_path, request):
    """Runs the command that made the bundled files, for some artefacts of a preset."""
    preset = registry.read_preset(DEFAULT_PRESET)
    path = preset.folder / MODEL_FILE
    values = tomllib.loads(path.read_text())
    values["exports"] = [
        e for e in values["exports"] if e.get("precision", "fp32") in request.param
    ]
    path.write_text(tomli_w.dumps(values))
    shipped = {p: artefact_path(preset, p).read_bytes() for p in ("fp32", "int8")}
    out, results = tmp_path / "out", tmp_path / "r.json"
    command = ["zoo", "export", DEFAULT_PRESET, "--out", out, "--ship", "--json", results]
    assert main([str(part) for part in command]) == 0
    rows = json.loads(results.read_text())["exports"]
    assert len(rows) == len(values["exports"])
    return rows, shipped


def same_embeddings(path, content, tmp_path):
    """Embeds the images of golden.npz with an artefact and with the bundled one."""
    shipped = tmp_path / "shipped.tflite"
    shipped.write_bytes(content)
    images = Golden.load(registry.zoo_folder() / DEFAULT_PRESET / GOLDEN_FILE).images
    return [gfkeras.Embedder(each)(images).embedding for each in (path, shipped)]


@pytest.mark.parametrize("exported", [("fp32", "fp16")], indirect=True)
def test_every_artefact_gives_the_golden_embeddings(exported, tmp_path):
    rows, shipped = exported
    preset = registry.read_preset(DEFAULT_PRESET)
    assert {(v.format, v.precision) for v in preset.exports} >= {
        ("tflite", "fp32"), ("tflite", "fp16"), ("onnx", "fp32"), ("savedmodel", "fp32"),
    }  # fmt: skip
    for row in rows:
        assert row["max_abs_error"] < (1e-4 if row["precision"] == "fp32" else 2e-3)
        # The thresholds are written too, with the fingerprint of the artefact.
        beside = json.loads(Path(f"{row['path']}.thresholds.json").read_text())
        assert beside["model"] == gfkeras.Embedder(row["path"]).fingerprint
        assert beside["at_far"] == preset.thresholds.at_far
    # The bundled file equals the output of the command with `--ship`.
    again, before = same_embeddings(artefact_path(preset), shipped["fp32"], tmp_path)
    np.testing.assert_allclose(again, before, atol=1e-5)
    assert artefact_path(preset).read_bytes() == Path(rows[0]["path"]).read_bytes()


# Choosing the ranges of int8 takes minutes.
@pytest.mark.slow
@pytest.mark.parametrize("exported", [("int8",)], indirect=True)
def test_the_shipped_int8_artefact_is_what_the_command_gives(exported, tmp_path):
    rows, shipped = exported
    assert rows[0]["min_cosine"] > 0.99
    again, before = same_embeddings(rows[0]["path"], shipped["int8"], tmp_path)
    assert (again * before).sum(axis=1).min() >= 0.999


def test_the_detector_is_the_one_that_photos_are_aligned_with():
    weights = registry.read_preset(detector.YUNET_PRESET).weights
    assert (weights.url, weights.sha256) == (detector.YUNET_URL, detector.YUNET_SHA256)
    with pytest.raises(ValueError, match="is a detector, which gives no embeddings"):
        gfkeras.load(detector.YUNET_PRESET)


def test_the_readmes_table_is_not_stale():
    table = (ROOT / "README.md").read_text().partition(BEGIN)[2].partition(END)[0]
    assert table.strip() == markdown_table(registry.presets()).strip(), (
        "run: gfkeras zoo list --markdown README.md"
    )


def test_the_table_replaces_only_the_text_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert write_into(page, registry.presets())
    assert not write_into(page, registry.presets())
    assert (
        page.read_text() == f"before\n{BEGIN}\n{markdown_table(registry.presets())}{END}\nafter\n"
    )
    page.write_text("no marks")
    with pytest.raises(ValueError, match="once, in this order"):
        write_into(page, registry.presets())


@pytest.fixture
def own_zoo(tmp_path, monkeypatch):
    """A copy of the zoo that a test can damage."""
    folder = tmp_path / "zoo"
    shutil.copytree(registry.zoo_folder(), folder)
    monkeypatch.setattr(registry, "zoo_folder", lambda: folder)
    return folder


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (r'sha256 = "[0-9a-f]+"\n', "", r"`weights\.sha256` is missing"),
        (r'sha256 = "[0-9a-f]{4}', 'sha256 = "', "64 lower-case hexadecimal digits"),
        (r"size_bytes = \d+", 'size_bytes = "big"', "must be an integer"),
        (r"sha256 =", "sha265 =", "did you mean 'sha256'"),
        (r'file = ".*"', 'file = "../../secret"', "the name of a file in the model's folder"),
        (r'file = ".*"\n', "", "either `file` or `url`"),
        (r'format = "gfkeras"', 'format = "pickle"', "expected one of gfkeras, file, mxnet"),
        (r"\[weights\]", "[weights", "is not valid TOML"),
        (r'name = "GroupFace"', 'name = "GroupFase"', "Unknown backbone 'GroupFase'"),
        (r"num_groups =", "num_group =", "num_group"),
        (r"num_groups = \d+", "num_groups = 5", "is for another architecture"),
        (r'file = ".*tflite"\n', "", "`file`, `size_bytes` and `sha256` together"),
        (r'file = ".*tflite"', 'file = "../x.tflite"', "the name of a file in the model's folder"),
        (r'precision = "int8"', 'precision = "int7"', "exports"),
        (r'format = "savedmodel"', 'format = "savedmodel"\nprecision = "int8"', "a SavedModel in"),
    ],
)
def test_a_wrong_description_is_named(own_zoo, before, after, message):
    path = own_zoo / DEFAULT_PRESET / MODEL_FILE
    text, count = re.subn(before, after, path.read_text(), count=1)
    assert count == 1
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        gfkeras.load(DEFAULT_PRESET)


def test_damaged_weights_are_refused(own_zoo):
    weights = own_zoo / DEFAULT_PRESET / registry.read_preset(DEFAULT_PRESET).weights.file_name
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged"):
        gfkeras.load(DEFAULT_PRESET)
    weights.write_bytes(data[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        gfkeras.load(DEFAULT_PRESET)
    weights.unlink()
    with pytest.raises(ValueError, match="is missing"):
        gfkeras.load(DEFAULT_PRESET)


def test_damaged_artefacts_are_refused(own_zoo):
    path = artefact_path(DEFAULT_PRESET)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="is damaged"):
        gfkeras.Embedder(DEFAULT_PRESET)
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        artefact_path(DEFAULT_PRESET)


def test_a_folder_wins_over_a_preset_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert preset_named(DEFAULT_PRESET).name == DEFAULT_PRESET
    assert isinstance(keras_source(DEFAULT_PRESET), gfkeras.GroupFace)
    Path(DEFAULT_PRESET).mkdir()
    for other in (DEFAULT_PRESET, "x.tflite", Path("runs/last"), None):
        assert preset_named(other) is None
        assert keras_source(other) is other


def test_a_misspelt_name_names_the_nearest():
    with pytest.raises(ValueError, match=f"did you mean '{DEFAULT_PRESET}'"):
        gfkeras.load("h_groupface_mobilfacenet")


def tiny_model():
    keras.utils.set_random_seed(0)
    backbone = gfkeras.backbones.MobileFaceNet(width=0.0625, bottlenecks=SMALL_BOTTLENECKS)
    return gfkeras.GroupFace(
        backbone, embedding_dim=16, num_groups=3, shared_dim=8, mode="soft", combine="concat"
    )


def test_a_packed_model_is_loaded_as_it_was(own_zoo, tmp_path):
    model = tiny_model()
    folder = model.save_to(tmp_path / "run")
    assert main(["zoo", "pack", str(folder), str(own_zoo / "mine"), "--mode", "hard"]) == 0
    loaded = gfkeras.load("mine")
    assert (loaded.mode, loaded.combine, loaded.shared_dim) == ("hard", "concat", 8)
    model.mode = "hard"
    golden = Golden.load(own_zoo / "mine" / GOLDEN_FILE)
    embedding = gfkeras.Embedder(model)(golden.images).embedding
    # Kernels were rounded to float16.
    assert 0.9999 < golden.least_cosine(embedding) <= 1.0001
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs), rtol=1e-3,
            atol=1e-4,
        )  # fmt: skip


def test_packing_again_keeps_tables_that_people_wrote(own_zoo, tmp_path):
    folder = tiny_model().save_to(tmp_path / "run")
    before = tomllib.loads((own_zoo / DEFAULT_PRESET / MODEL_FILE).read_text())
    assert main(["zoo", "pack", str(folder), str(own_zoo / DEFAULT_PRESET)]) == 0
    after = tomllib.loads((own_zoo / DEFAULT_PRESET / MODEL_FILE).read_text())
    for key in before.keys() - {"architecture", "weights", "exports"}:
        assert after[key] == before[key]
    # Artefacts of the earlier weights are not bundled with the new ones.
    kept = [{k: v for k, v in e.items() if k in ("format", "precision")} for e in before["exports"]]
    assert [{"precision": "fp32", **export} for export in kept] == after["exports"]
    assert artefact_path(DEFAULT_PRESET) is None
    assert not list((own_zoo / DEFAULT_PRESET).glob("*.tflite*"))
    assert after["weights"]["sha256"] != before["weights"]["sha256"]
    assert Preset.read(own_zoo / DEFAULT_PRESET).architecture.arguments["embedding_dim"] == 16


def test_weights_that_float16_cannot_hold_are_refused(tmp_path):
    model = tiny_model()
    layer = model.get_layer("instance_fc")
    layer.set_weights([np.full_like(layer.get_weights()[0], 1e6)])
    folder = model.save_to(tmp_path / "run")
    with pytest.raises(ValueError, match="instance_fc/kernel' must be in the range of float16"):
        gfkeras.zoo.pack(gfkeras.load(folder), tmp_path / "packed")
    assert not (tmp_path / "packed" / "weights.safetensors").exists()
