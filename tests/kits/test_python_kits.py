"""The Python kits give the embeddings of the model, without gfkeras."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from gfkeras.evaluation import GROUP_AWARE, Similarity
from gfkeras.export import Int8Settings, export_model
from gfkeras.inference import Embedder

KITS = {"python-litert": "tflite", "python-onnx": "onnx", "savedmodel": "savedmodel"}
LIGHT = ("python-litert", "python-onnx")

EMBED = """
import numpy as np
from face_embedding import FaceEmbedder, compare
path, given, written = sys.argv[1:]
embedder = FaceEmbedder(path, threads=1)
faces = embedder.embed(np.load(given))
more = {}
if faces.group is not None:
    half = len(faces) // 2
    more = {"group": faces.group, "group_feature": faces.group_feature,
            "similarity": compare(faces[:half], faces[half:], group_aware=True),
            "one_to_all": compare(faces[0], faces, True, 0.2, 0.5, "cosine")}
np.savez(written, embedding=faces.embedding, batch=embedder.batch_size or 0, **more)
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


def embedded(kit, path: Path, images: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """Embeds images with a kit. "modules" has the modules that it imported."""
    np.save(folder / "given.npy", images)
    ran = kit.python(EMBED, path, folder / "given.npy", folder / "written.npz")
    assert ran.returncode == 0, ran.stderr
    with np.load(folder / "written.npz") as written:
        return {**written, "modules": ran.stdout}


def refused(ran) -> str:
    """Returns the one line of error of a command."""
    assert ran.returncode == 2, ran.stdout
    assert "Traceback" not in ran.stderr
    assert not ran.stdout
    # Log lines of a runtime can come before it.
    return ran.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("name", KITS)
def test_golden_embeddings(kit, box, golden, tmp_path, name):
    found = embedded(kit(name), getattr(box, KITS[name]), golden.images, tmp_path)
    assert golden.largest_error(found["embedding"]) < 1e-4
    np.testing.assert_array_equal(found["group"], golden.group)
    e, g = found["embedding"], found["group_feature"]
    assert g.shape == (len(e), 256)
    half = len(e) // 2
    wanted = GROUP_AWARE(e[:half], e[half:], g[:half], g[half:])
    np.testing.assert_allclose(found["similarity"], wanted, atol=1e-6)
    of_one = Similarity(0.2, 0.5, "cosine")
    wanted = of_one.matrix(e[:1], e[1:], g[:1], g[1:])[0]
    np.testing.assert_allclose(found["one_to_all"][1:], wanted, atol=1e-5)
    assert found["one_to_all"][0] == pytest.approx(1, abs=1e-5)
    # The shim makes an import fail. This also checks that the kit did not try one and catch it.
    assert not {"gfkeras", *(("keras", "tensorflow") if name in LIGHT else ())} & set(
        json.loads(found["modules"].replace("'", '"'))
    )


def test_int8_with_integer_images(kit, int8_inputs, golden, tmp_path):
    found = embedded(kit("python-litert"), int8_inputs, golden.images, tmp_path)
    # Equal to gfkeras with the same file, and close to the float model within int8 rounding.
    theirs = Embedder(int8_inputs)(golden.images)
    np.testing.assert_allclose(found["embedding"], theirs.embedding, atol=1e-5)
    np.testing.assert_array_equal(found["group"], theirs.group)
    assert np.mean((found["embedding"] * golden.embedding).sum(axis=1)) > 0.95


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3), name="images")
    x = keras.layers.Rescaling(1 / 128, -1)(images)
    x = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(x)
    return keras.Model(images, keras.layers.Dense(16)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("form", ["integer ends", "batch of 4", "no signature names"])
def test_other_forms_of_tflite(kit, small, tmp_path, form):
    images = np.random.default_rng(0).integers(0, 256, (38, 32, 32, 3), dtype=np.uint8)
    path = tmp_path / "face.tflite"
    if form == "integer ends":
        ends = Int8Settings(inputs="int8", outputs="int8")
        export_model(small, path, precision="int8", calibration=images, int8=ends)
    elif form == "batch of 4":
        export_model(small, path, batch_size=4)
    else:
        import tensorflow as tf

        serve = tf.function(small.call, input_signature=[tf.TensorSpec((None, 32, 32, 3))])
        made = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()])
        path.write_bytes(made.convert())
    found = embedded(kit("python-litert"), path, images[:7], tmp_path)
    wanted = Embedder(small)(images[:7]).embedding
    least = (found["embedding"] * wanted).sum(axis=1).min()
    assert least > (0.99 if form == "integer ends" else 0.999999)
    assert found["batch"] == (4 if form == "batch of 4" else 0)


# -- the command ----------------------------------------------------------------------------------


def thresholds(model: str, beta: float = 0.0) -> dict:
    similarity = {"beta": beta, "gamma": 1 / 3, "distance": "l2"}
    return {"version": 1, "similarity": similarity, "at_far": {"1e-2": 0.3, "1e-3": 0.5},
            "impostor": 100_000, "origin": "made up", "model": model}  # fmt: skip


@pytest.mark.parametrize("name", LIGHT)
def test_command_decides_by_the_cards_thresholds(kit, box, golden, tmp_path, name):
    path = Path(shutil.copy(getattr(box, KITS[name]), tmp_path))
    card = json.loads(Path(f"{getattr(box, KITS[name])}.json").read_text())
    Path(f"{path}.json").write_text(json.dumps({**card, "thresholds": thresholds("")}))
    cosine = float(golden.embedding[0] @ golden.embedding[1])
    assert 0.5 < cosine < 0.6
    run = kit(name).command
    ran = run(path, *box.pictures[:2], "--threads", 1, "--runs", 2)
    assert ran.returncode == 0, ran.stderr
    assert f"Cosine         {cosine:.4f}\n" in ran.stdout
    assert "Groups         {} and {}\n".format(*golden.group[:2]) in ran.stdout
    assert "same person at FAR 1e-3, threshold 0.5000 (made up)\n" in ran.stdout
    # There are no thresholds for the group-aware similarity, so the user's threshold decides.
    ran = run(path, *box.pictures[:2], "--group-aware", "--threshold", 0.5, "--runs", 1, "--json")
    result = json.loads(ran.stdout)
    assert result["cosine"] == pytest.approx(cosine, abs=1e-5)
    assert 0.3 < result["group_aware_similarity"] < 0.5
    assert result["same"] is False
    assert result["latency_ms"] > 0
    assert "--far" not in refused(run(path, *box.pictures[:2], "--group-aware", "--far", 1e-3))


def test_thresholds_beside_the_artefact(kit, box, tmp_path):
    run = kit("python-litert").command
    path = Path(shutil.copy(box.tflite, tmp_path))
    shutil.copy(f"{box.tflite}.json", tmp_path)
    fingerprint = json.loads(Path(f"{path}.json").read_text())["fingerprint"]
    beside = Path(f"{path}.thresholds.json")
    beside.write_text(json.dumps(thresholds(fingerprint, beta=0.1)))
    pair = (path, *box.pictures[:2], "--runs", 1)
    result = json.loads(run(*pair, "--json", "--far", 0.01).stdout)
    assert (result["far"], result["threshold"], result["same"]) == ("1e-2", 0.3, True)
    assert result["group_aware_similarity"] < result["cosine"]
    assert "must be one of 1e-2, 1e-3" in refused(run(*pair, "--far", 1e-6))
    # Control characters in a stranger's file must not reach the terminal.
    beside.write_text(json.dumps({**thresholds(fingerprint), "origin": "\x1b]0;x\x07\u202e"}))
    assert "\\x1b]0;x\\x07\\u202e)" in run(*pair).stdout
    assert "\\x1b[2J.jpg" in refused(run(path, "\x1b[2J.jpg", box.pictures[0]))
    beside.write_text(json.dumps(thresholds("0" * 64)))
    assert "for another model" in refused(run(*pair))
    beside.write_text('{"at_far": {}}')
    assert "thresholds of" in refused(run(*pair))


def test_without_a_card_nothing_is_decided(kit, box, tmp_path):
    path = shutil.copy(box.tflite, tmp_path)
    np.save(tmp_path / "a.npy", np.asarray(Image.open(box.pictures[0])))
    ran = kit("python-litert").command(path, tmp_path / "a.npy", box.pictures[0], "--runs", 1)
    assert ran.returncode == 0, ran.stderr
    assert "Cosine         1.0000\n" in ran.stdout
    assert "Decision       none" in ran.stdout


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KITS)
def test_a_missing_or_damaged_artefact(kit, box, tmp_path, name):
    run, whole = kit(name).command, getattr(box, KITS[name])
    assert "no such model" in refused(run(tmp_path / "none", *box.pictures[:2]))
    path = tmp_path / whole.name
    if whole.is_dir():
        shutil.copytree(whole, path)
        broken = path / "saved_model.pb"
    else:
        broken = Path(shutil.copy(whole, path))
    broken.write_bytes(broken.read_bytes()[:-1000])
    shutil.copy(f"{whole}.json", tmp_path)
    assert "damaged or was replaced" in refused(run(path, *box.pictures[:2]))
    Path(f"{path}.json").write_text("{")
    assert "is damaged" in refused(run(path, *box.pictures[:2]))
    if name in LIGHT:
        Path(f"{path}.json").unlink()
        broken.write_bytes(broken.read_bytes()[:5000])
        assert "cannot be read as" in refused(run(path, *box.pictures[:2]))


def test_images_that_are_not_aligned_faces(kit, box, tmp_path):
    def said(picture) -> str:
        return refused(kit("python-litert").command(box.tflite, box.pictures[0], picture))

    Image.new("RGB", (96, 112)).save(tmp_path / "small.png")
    assert "112x112" in (line := said(tmp_path / "small.png"))
    assert "small.png" in line
    assert "96x112" in line
    Image.new("RGBA", (112, 112)).save(tmp_path / "clear.png")
    assert "RGBA" in said(tmp_path / "clear.png")
    (tmp_path / "cut.png").write_bytes(box.pictures[0].read_bytes()[:2000])
    assert "cut.png must be an aligned face" in said(tmp_path / "cut.png")
    assert "no such file" in said(tmp_path / "none.png")


def test_other_models_are_refused(kit, box, tmp_path):
    images = keras.Input((8, 16, 3))
    model = keras.Model(images, keras.layers.Flatten()(images))
    import tensorflow as tf

    path = tmp_path / "other.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    line = refused(kit("python-litert").command(path, *box.pictures[:2]))
    assert "is not a face model" in line
    path = Path(shutil.copy(box.tflite, tmp_path))
    card = json.loads(Path(f"{box.tflite}.json").read_text())
    card["inputs"][0]["dtype"] = "int8"
    Path(f"{path}.json").write_text(json.dumps(card))
    assert "its card says" in refused(kit("python-litert").command(path, *box.pictures[:2]))


# -- the folders ----------------------------------------------------------------------------------


def test_make_kits_changes_nothing(kit, tmp_path):
    files = {name: kit(name).folder / "face_embedding.py" for name in KITS}
    for name, file in files.items():
        (tmp_path / name).mkdir()
        shutil.copy(file, tmp_path / name)
    # Only the LiteRT kit is the source: `make kits` replaces the lines of the others.
    mark = "# == The common part of the Python kits"
    for name in ("python-onnx", "savedmodel"):
        copy = tmp_path / name / "face_embedding.py"
        own, line, rest = copy.read_text().partition(mark)
        copy.write_text(own + line + rest.partition("\n")[0])
    script = files["python-litert"].parents[1] / "make_kits.py"
    subprocess.run([sys.executable, script, tmp_path], check=True)
    for name, file in files.items():
        made = (tmp_path / name / "face_embedding.py").read_text()
        assert made == file.read_text(), "run: make kits"
    assert len(made.partition(mark)[2].splitlines()) > 100


@pytest.mark.parametrize("name", KITS)
def test_a_folder_has_what_a_device_needs(kit, name):
    folder = kit(name).folder
    assert len((folder / "README.md").read_text().splitlines()) <= 60
    for line in (folder / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or ">=" in line


# -- TF Serving -----------------------------------------------------------------------------------


def test_request_of_tf_serving(kit, box, golden):
    """A server with the documented REST API of TF Serving, which calls the signature by keyword."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(box.savedmodel)).signatures["serving_default"]

    class Serving(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert body["signature_name"] == "serving_default"
            outputs = signature(images=tf.constant(body["instances"], tf.float32))
            rows = [
                {name: value[row].numpy().tolist() for name, value in outputs.items()}
                for row in range(len(body["instances"]))
            ]
            answer = json.dumps({"predictions": rows}).encode()
            self.send_response(200 if self.path == "/v1/models/face:predict" else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Serving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = kit("savedmodel")
    # A client needs no TensorFlow.
    client.absent += ["tensorflow", "keras"]
    url = f"http://127.0.0.1:{server.server_port}/v1/models/"
    try:
        ask = [*box.pictures[:3], "--url"]
        ran = client.command(*ask, f"{url}face:predict", script="serving_request.py")
        other = client.command(*ask, f"{url}none:predict", script="serving_request.py")
    finally:
        server.shutdown()
        server.server_close()
    assert ran.returncode == 0, ran.stderr
    found = [float(line.split()[0]) for line in ran.stdout.splitlines()]
    np.testing.assert_allclose(found, golden.embedding[:3] @ golden.embedding[0], atol=2e-4)
    assert "404" in refused(other)
    ran = client.command(box.pictures[0], script="serving_request.py")
    np.testing.assert_array_equal(json.loads(ran.stdout)["instances"], golden.images[:1])
