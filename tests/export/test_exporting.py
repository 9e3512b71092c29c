"""Export to all formats: every artefact gives the model's embeddings."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from gfkeras.export import export_model, verify
from gfkeras.files import sha256
from gfkeras.heads import ArcFace
from gfkeras.inference import Embedder
from gfkeras.losses import SelfGroupingLoss
from gfkeras.models import FaceClassifier

GROUPS, DIM, FEATURE = 7, 20, 48
SUFFIX = {"savedmodel": "", "tflite": ".tflite", "onnx": ".onnx"}
OUTPUTS = ["embedding", "group_feature", "group_logits"]


def exported(model, folder: Path, format="tflite", **arguments) -> Path:  # noqa: A002
    return export_model(model, folder / f"model{SUFFIX[format]}", format=format, **arguments)


@pytest.fixture(scope="module")
def models(make_model):
    """Each combination of `combine` and `shared_dim`."""
    return {
        (combine, shared_dim): make_model(combine=combine, shared_dim=shared_dim)
        for combine in ("add", "concat")
        for shared_dim in (None, 64, 16)
    }


# Two combinations that cover both modes and both forms of the head.
QUICK = {("hard", "add", None), ("soft", "concat", 16)}


@pytest.mark.parametrize("format", SUFFIX)
@pytest.mark.parametrize(
    ("mode", "combine", "shared_dim"),
    [
        pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
        for case in itertools.product(("soft", "hard"), ("add", "concat"), (None, 16, 64))
    ],
)
def test_round_trip(models, images, tmp_path, format, mode, combine, shared_dim):  # noqa: A002
    model = models[combine, shared_dim]
    path = exported(model, tmp_path, format, mode=mode)
    result = verify(Embedder(model), Embedder(path, batch_size=5), images)
    assert result.precision == "fp32"
    assert result.max_abs_error <= 1e-4
    assert result.passed(), result.to_json()
    assert result.near_ties == 0


# The other formats are slow. `test_backbone_has_the_embedding_alone` exports a MobileFaceNet too.
@pytest.mark.parametrize(
    "format",
    [pytest.param(f, marks=[] if f == "tflite" else pytest.mark.slow) for f in SUFFIX],
)
def test_mobilefacenet(make_model, mobilefacenet, images, tmp_path, format):  # noqa: A002
    model = make_model(mobilefacenet(), mode="hard")
    result = verify(Embedder(model), Embedder(exported(model, tmp_path, format)), images)
    assert result.passed(), result.to_json()


@pytest.mark.parametrize("format", SUFFIX)
def test_backbone_has_the_embedding_alone(plain, images, tmp_path, format):  # noqa: A002
    path = exported(plain, tmp_path, format)
    result = Embedder(path)(images)
    assert result.group is None
    assert result.group_feature is None
    assert verify(Embedder(plain), Embedder(path), images).passed()
    card = json.loads((tmp_path / f"{path.name}.json").read_text())
    assert [output["name"] for output in card["outputs"]] == ["embedding"]
    assert card["mode"] is None
    with pytest.raises(ValueError, match="`mode` is for a GroupFace"):
        exported(plain, tmp_path, format, mode="hard")


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_fp16(models, images, tmp_path, mode):
    model = models["add", None]
    full = exported(model, tmp_path, mode=mode)
    half = export_model(model, tmp_path / "half.tflite", precision="fp16", mode=mode)
    result = verify(Embedder(model), Embedder(half), images)
    assert result.precision == "fp16"
    assert result.min_cosine >= 0.9995
    assert result.passed()
    assert half.stat().st_size < 0.7 * full.stat().st_size


def test_output_names(models, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    ort = pytest.importorskip("onnxruntime")
    tf = pytest.importorskip("tensorflow")
    model = models["add", None]
    paths = {f: exported(model, tmp_path / f, f, mode="hard") for f in SUFFIX}
    signatures = litert.Interpreter(str(paths["tflite"])).get_signature_list()
    assert sorted(signatures["serving_default"]["outputs"]) == OUTPUTS
    assert signatures["serving_default"]["inputs"] == ["images"]
    session = ort.InferenceSession(str(paths["onnx"]))
    assert sorted(output.name for output in session.get_outputs()) == OUTPUTS
    assert [i.name for i in session.get_inputs()] == ["images"]
    assert session.get_inputs()[0].shape[1:] == [32, 32, 3]
    assert not isinstance(session.get_inputs()[0].shape[0], int)
    loaded = tf.saved_model.load(str(paths["savedmodel"]))
    function = loaded.signatures["serving_default"]
    assert sorted(function.structured_outputs) == OUTPUTS
    assert list(function.structured_input_signature[1]) == ["images"]


def test_onnx_opset(models, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported(models["add", None], tmp_path, "onnx"))
    assert {o.domain: o.version for o in model.opset_import}[""] >= 17


def graph_shapes(path: Path) -> list[list[int]]:
    """Returns the shapes of all tensors that the operators of a .tflite file compute."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(
        str(path),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    shapes = {d["index"]: list(d["shape"]) for d in interpreter.get_tensor_details()}
    return [
        shapes[int(index)]
        for op in interpreter._get_ops_details()
        for index in op["outputs"]
        if int(index) in shapes
    ]


@pytest.mark.parametrize(
    ("combine", "batch_size"),
    [
        ("add", None),
        ("concat", 1),
        pytest.param("add", 1, marks=pytest.mark.slow),
        pytest.param("concat", None, marks=pytest.mark.slow),
    ],
)
def test_hard_computes_the_chosen_group_alone(models, tmp_path, combine, batch_size):
    path = exported(models[combine, None], tmp_path, mode="hard", batch_size=batch_size)
    shapes = graph_shapes(path)
    widths = {GROUPS * DIM, GROUPS * FEATURE}
    assert not [s for s in shapes if s and s[-1] in widths]
    assert not [s for s in shapes if len(s) > 1 and s[-2] == GROUPS]
    assert not [s for s in shapes if int(np.prod(s)) == GROUPS * FEATURE * DIM]
    # Only the kernel of the image's group is gathered.
    assert [s for s in shapes if s[-2:] == [DIM, FEATURE]]


def test_soft_holds_no_k_representations(models, tmp_path):
    shapes = graph_shapes(exported(models["add", None], tmp_path, mode="soft"))
    assert not [s for s in shapes if s[-2:] == [GROUPS, DIM] or s[-1:] == [GROUPS * DIM]]


def test_fixed_batch(models, images, tmp_path):
    model = models["add", None]
    path = exported(model, tmp_path, mode="hard", batch_size=4)
    embedder = Embedder(path, batch_size=64)
    assert embedder.batch_size == 4
    for count in (1, 3, 4, 9):
        result = verify(Embedder(model), embedder, images[:count])
        assert result.images == count
        assert result.passed()


def test_the_model_is_not_changed(models, tmp_path):
    model = models["concat", 64]
    before = [np.array(weight) for weight in model.get_weights()]
    model.mode = "soft"
    exported(model, tmp_path, mode="hard")
    assert model.mode == "soft"
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_own_mode_by_default(models, tmp_path):
    model = models["add", None]
    for mode in ("soft", "hard"):
        model.mode = mode
        path = exported(model, tmp_path)
        assert json.loads((tmp_path / f"{path.name}.json").read_text())["mode"] == mode


@pytest.mark.parametrize(
    ("policy", "groups"),
    [
        ("mixed_bfloat16", True),
        pytest.param("mixed_bfloat16", False, marks=pytest.mark.slow),
        pytest.param("mixed_float16", True, marks=pytest.mark.slow),
        pytest.param("mixed_float16", False, marks=pytest.mark.slow),
    ],
)
def test_mixed_precision_exports_float32(
    make_model, mobilefacenet, images, tmp_path, policy, groups
):
    keras.config.set_dtype_policy(policy)
    try:
        mixed = make_model(mobilefacenet(), mode="hard") if groups else mobilefacenet()
    finally:
        keras.config.set_dtype_policy("float32")
    path = exported(mixed, tmp_path)
    assert keras.config.dtype_policy().name == "float32"
    assert mixed.layers[-1].dtype_policy is not None
    full = make_model(mobilefacenet(), mode="hard") if groups else mobilefacenet()
    full.set_weights(mixed.get_weights())
    # float32 throughout: the tolerance of fp32 against the float32 model.
    assert verify(Embedder(full), Embedder(path), images).passed()


def test_training_model_exports_the_model_inside(models, images, tmp_path):
    model = models["add", None]
    training = FaceClassifier(model, ArcFace(num_classes=4), SelfGroupingLoss())
    path = exported(training, tmp_path, mode="soft")
    assert verify(Embedder(training), Embedder(path), images).passed()


@pytest.mark.parametrize("format", SUFFIX)
def test_card(models, tmp_path, format):  # noqa: A002
    path = exported(models["add", None], tmp_path, format, mode="hard")
    card = json.loads((tmp_path / f"{path.name}.json").read_text())
    assert card["format"] == format
    assert card["precision"] == "fp32"
    assert card["mode"] == "hard"
    assert card["inputs"][0]["shape"] == [None, 32, 32, 3]
    assert {o["name"]: o["shape"] for o in card["outputs"]} == {
        "embedding": [None, DIM],
        "group_feature": [None, 256],
        "group_logits": [None, GROUPS],
    }
    assert card["model"]["class"] == "GroupFace"
    assert card["model"]["num_groups"] == GROUPS
    if format == "savedmodel":
        assert card["sha256"]["saved_model.pb"] == sha256(path / "saved_model.pb")
        files = [f for f in path.rglob("*") if f.is_file()]
        assert len(card["sha256"]) == len(files)
    else:
        files = [path]
        assert card["sha256"] == sha256(path)
    assert card["size_bytes"] == sum(f.stat().st_size for f in files)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, f"{path.name}.json"])


@pytest.mark.parametrize("format", SUFFIX)
def test_exporting_again_replaces(models, images, tmp_path, format):  # noqa: A002
    first = exported(models["add", None], tmp_path, format)
    again = exported(models["concat", None], tmp_path, format)
    assert first == again
    assert Embedder(again)(images).embedding.shape == (len(images), 2 * DIM)


def test_a_failure_overwrites_nothing(models, tmp_path, monkeypatch):
    path = exported(models["add", None], tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(tf, form, written, precision):
        written.write_bytes(b"half")
        raise RuntimeError("the converter failed")

    monkeypatch.setattr("gfkeras.export.exporting.write_tflite", fail)
    with pytest.raises(RuntimeError, match="the converter failed"):
        exported(models["add", None], tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert path.is_file()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("m.tflite", {"format": "tfllite"}, "did you mean 'tflite'"),
        ("m.tflite", {"precision": "int8"}, "`calibration` must be aligned faces"),
        ("m.tflite", {"precision": "fp8"}, "must be one of 'fp32', 'fp16'"),
        ("m.onnx", {"format": "onnx", "precision": "int8-weights"}, "is for format='tflite'"),
        ("m", {"format": "savedmodel", "precision": "fp16"}, "is for format='tflite'"),
        ("m.onnx", {"format": "tflite"}, "ending in .tflite"),
        ("m.onnx", {"format": "savedmodel"}, "must be a folder"),
        ("m.tflite", {"mode": "hrad"}, "did you mean 'hard'"),
        ("m.tflite", {"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_arguments(models, tmp_path, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        export_model(models["add", None], tmp_path / name, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_kept(models, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match="holds something else"):
        export_model(models["add", None], tmp_path / "photos", format="savedmodel")
    assert (tmp_path / "photos" / "a.jpg").is_file()


def test_not_a_model(tmp_path):
    with pytest.raises(ValueError, match=r"must be a keras\.Model"):
        export_model("model", tmp_path / "m.tflite")
    vectors = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="must take images"):
        export_model(vectors, tmp_path / "m.tflite")


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_more_than_a_file_holds(models, tmp_path, monkeypatch, format):  # noqa: A002
    monkeypatch.setattr("gfkeras.export.exporting.MAX_FILE_BYTES", 1000)
    with pytest.raises(ValueError, match="Use format='savedmodel'"):
        exported(models["add", None], tmp_path, format)
    assert not list(tmp_path.iterdir())


def test_quiet(models, tmp_path, capfd):
    exported(models["add", None], tmp_path)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_other_backends_are_refused(models, tmp_path, monkeypatch):
    monkeypatch.setattr("gfkeras.export.graph.keras.backend.backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        exported(models["add", None], tmp_path)
