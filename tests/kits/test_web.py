"""The web kit in headless Chromium: the same embeddings as in Python, and a usable page."""

from __future__ import annotations

import base64
import functools
import io
import json
import threading
import urllib.error
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from browser_kit import (
    DETECTOR,
    KIT,
    MODEL,
    chromium,
    cosines,
    embed_aligned,
    embed_photo,
    installed_packages,
    served,
)
from PIL import Image

import gfkeras
from gfkeras.data import FaceAligner, FaceDetector
from gfkeras.data.photos import read_photo
from gfkeras.export import export_model
from gfkeras.zoo import DEFAULT_PRESET, registry
from gfkeras.zoo.golden import Golden
from gfkeras.zoo.preset_files import preset_thresholds
from gfkeras.zoo.registry import GOLDEN_FILE

PRESET = DEFAULT_PRESET
YUNET = "face_detection_yunet_2023mar.onnx"
ORIENTATION = 0x0112
# Instead of a body: an answer that never comes. None means that the file is missing.
SLOW = object()


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden.load(registry.zoo_folder() / PRESET / GOLDEN_FILE)


@pytest.fixture(scope="module")
def browser():
    installed_packages()
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def artefact(browser, tmp_path_factory) -> Path:
    """The bundled model with a fixed batch, and its thresholds."""
    path = tmp_path_factory.mktemp("web") / "face.tflite"
    export_model(gfkeras.load(PRESET), path, batch_size=1)
    preset_thresholds(registry.read_preset(PRESET)).save(f"{path}.thresholds.json")
    return path


@pytest.fixture(scope="module")
def plain_server(artefact):
    """The kit with a model and without a detector."""
    with served("--model", artefact) as address:
        yield address


@pytest.fixture(scope="module")
def static_server():
    """The kit on a plain server of static files, without the headers that allow threads."""
    handler = functools.partial(QuietFiles, directory=KIT)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{files.server_port}/"
        files.shutdown()


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server(artefact, shared_data):
    detector = shared_data / "models" / YUNET
    with served("--model", artefact, "--detector", detector) as address:
        yield address


@pytest.fixture(scope="module")
def page(browser, server):
    """A shared page for tests that do not change it."""
    opened = browser.new_page()
    opened.goto(server)
    yield opened
    opened.close()


@pytest.fixture
def visit(browser):
    """Opens a new page in the size of a phone, and replaces some answers of the server."""
    pages = []

    def answering(body):
        if body is SLOW:
            return lambda route: None
        answer = {"status": 404} if body is None else {"body": body}
        return lambda route: route.fulfill(**answer)

    def open_page(address, answers=None):
        context = browser.new_context(viewport={"width": 360, "height": 740})
        pages.append(context)
        opened = context.new_page()
        for path, body in (answers or {}).items():
            opened.route(f"**/{path}", answering(body))
        opened.goto(address)
        return opened

    yield open_page
    for context in pages:
        context.close()


@pytest.fixture(scope="module")
def photos(shared_data) -> list[Path]:
    """Two photos of one person and one of another."""
    people = sorted(path for path in (shared_data / "lfw_raw250").iterdir() if path.is_dir())
    pair = next(found for p in people if len(found := sorted(p.glob("*.jpg"))) > 1)
    return [*pair[:2], sorted(people[-1].glob("*.jpg"))[0]]


@pytest.fixture(scope="module")
def aligner(shared_data) -> FaceAligner:
    return FaceAligner(FaceDetector(shared_data / "models" / YUNET))


def text(page, place: str) -> str:
    return page.locator(place).inner_text()


def wait_for(page, place: str, words: str) -> None:
    page.locator(place, has_text=words).wait_for(timeout=60_000)


def png(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("threads", [True, False])
def test_golden_images_embed_as_in_python(
    visit, plain_server, static_server, artefact, golden, threads
):
    card = artefact.with_name(f"{artefact.name}.json").read_bytes()
    files = {} if threads else {MODEL: artefact.read_bytes(), f"{MODEL}.json": card}
    page = visit(plain_server if threads else static_server, files)
    assert page.evaluate("crossOriginIsolated") == threads
    found = embed_aligned(page, golden.images)
    assert cosines([face["embedding"] for face in found], golden.embedding).min() > 0.9999
    assert [face["group"] for face in found] == golden.group.tolist()


# Unlike Python, the page does not search again for faces as small as in a photo of 70×70.
@pytest.mark.parametrize("size", [(250, 250), (1000, 1000), (2300, 1700), (180, 180)])
def test_a_photo_is_found_aligned_and_embedded_as_in_python(page, artefact, aligner, photos, size):
    resized = Image.open(photos[0]).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(resized)
    expected = aligner.face(pixels)
    found = embed_photo(page, png(pixels))
    assert abs(found["score"] - expected.score) < 0.01
    width = expected.box[2]
    assert np.abs(found["landmarks"] - expected.landmarks).max() < 0.005 * width
    difference = np.abs(found["crop"].astype(int) - expected.image)
    # In units of 1/255. OpenCV enlarges small photos in fixed-point arithmetic.
    assert difference.mean() < 0.5
    assert difference.max() <= (6 if max(size) < 200 else 2)
    embedding = gfkeras.Embedder(artefact)(expected.image[None]).embedding[0]
    assert cosines(found["embedding"], embedding) > 0.999


def test_a_tilted_face_is_levelled_as_in_python(page, aligner, photos):
    tilted = Image.open(photos[0]).convert("RGB").rotate(25, Image.Resampling.BICUBIC)
    expected = aligner.face(np.asarray(tilted))
    found = embed_photo(page, png(np.asarray(tilted)))
    assert np.abs(found["landmarks"] - expected.landmarks).max() < 0.01 * expected.box[2]


def test_a_rotated_jpeg_is_turned_upright(page, artefact, aligner, photos):
    lying = Image.open(photos[1]).convert("RGB").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    file = io.BytesIO()
    lying.save(file, "JPEG", quality=95, exif=exif)
    expected = gfkeras.Embedder(artefact)(aligner(read_photo(file.getvalue()))[None])
    found = embed_photo(page, file.getvalue())
    assert cosines(found["embedding"], expected.embedding[0]) > 0.99


def test_two_photos_are_compared_by_keyboard_and_nothing_is_sent(
    visit, server, artefact, aligner, photos
):
    page = visit(server)
    requests = []
    page.on("request", lambda request: requests.append(request))
    wait_for(page, "#verdict", "Choose two photos")
    for photo, letter in zip(photos, "AB", strict=False):
        with page.expect_file_chooser() as chooser:
            while not page.evaluate(f"document.activeElement.id === 'file-{letter.lower()}'"):
                page.keyboard.press("Tab")
            page.keyboard.press("Enter")
        chooser.value.set_files(photo)
        wait_for(page, f"[data-photo={letter}] .note", "face")
    wait_for(page, "#verdict", "Same person")
    faces = gfkeras.Embedder(artefact)(np.stack([aligner(photo) for photo in photos[:2]]))
    shown = float(text(page, "#explanation").split("Cosine ")[1].split(". ")[0])
    assert abs(shown - float(faces.embedding[0] @ faces.embedding[1])) < 0.01
    for letter, group in zip("AB", faces.group, strict=True):
        assert str(group) in text(page, "#group-text"), letter
    assert page.locator("#group-chart rect.a").count() == 16
    assert page.locator("#group-chart rect.b").count() == 16
    assert [float(cell) > 0 for cell in page.locator("#latency td").all_inner_texts()] == [True] * 8

    # A stricter FAR, by keyboard: its threshold is above what the same photos reach.
    threshold = preset_thresholds(registry.read_preset(PRESET)).at(1e-5)
    page.locator("#far").focus()
    page.keyboard.press("End")
    wait_for(page, "#explanation", f"{threshold:.3f} for 1 false accept in 100,000")
    assert text(page, "#verdict") == ("Same person" if shown >= threshold else "Different people")

    assert page.locator("[aria-live=polite] #verdict").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert {request.method for request in requests} <= {"GET"}
    assert all(request.url.startswith((server, "blob:")) for request in requests)


def test_another_person_is_dropped_and_a_photo_without_a_face_replaces_the_result(
    visit, server, photos
):
    page = visit(server)
    page.locator("#file-a").set_input_files(photos[0])
    content = base64.b64encode(photos[2].read_bytes()).decode()
    dropped = page.evaluate_handle(
        """(content) => {
          const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "b.jpg", {type: "image/jpeg"}));
          return transfer;
        }""",
        content,
    )
    page.dispatch_event("[data-photo=B]", "drop", {"dataTransfer": dropped})
    wait_for(page, "#verdict", "Different people")
    grey = {"name": "grey.png", "mimeType": "image/png",
            "buffer": png(np.full((120, 160, 3), 127, np.uint8))}  # fmt: skip
    page.locator("#file-b").set_input_files(grey)
    wait_for(page, "#problem", "No face found in photo B.")
    assert text(page, "#verdict") == "Choose photo B."
    assert page.locator("#groups").is_hidden()
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.locator("#file-b").set_input_files(broken)
    wait_for(page, "#problem", "broken.png is not a photo")


def changed(artefact: Path, **values) -> str:
    card = json.loads(artefact.with_name(f"{artefact.name}.json").read_text())
    return json.dumps({**card, **values})


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (lambda path: {f"{MODEL}.json": None}, "models/model.tflite.json is missing"),
        (lambda path: {f"{MODEL}.json": "{"}, "is not valid JSON"),
        (lambda path: {f"{MODEL}.json": "{}"}, "is not the card of a face model"),
        (lambda path: {MODEL: None}, "models/model.tflite is missing"),
        (lambda path: {MODEL: path.read_bytes()[:9000]}, "its SHA-256 is not the one in the card"),
        (
            lambda path: {MODEL: b"nothing", f"{MODEL}.json": changed(path, sha256="")},
            "cannot be run by LiteRT.js",
        ),
        (
            lambda path: {f"{MODEL}.json": changed(path, inputs=[{"shape": [None, 112, 112, 3]}])},
            "--batch-size 1",
        ),
        (lambda path: {}, f"{DETECTOR} is missing"),
        (lambda path: {DETECTOR: b"another file"}, "received another file"),
    ],
)
def test_missing_and_broken_files_give_one_line(visit, plain_server, artefact, answers, message):
    # This server has no detector. Its error must not come first.
    detector = {} if "detection" in message or "another file" in message else {DETECTOR: SLOW}
    page = visit(plain_server, {**detector, **answers(artefact)})
    wait_for(page, "#problem", message)
    assert "\n" not in text(page, "#problem")
    assert text(page, "#verdict") == "No comparison is possible."


def test_thresholds_of_the_card_decide_by_their_own_similarity(visit, server, artefact, photos):
    table = {"version": 1, "similarity": {"beta": 0.1, "gamma": 1 / 3, "distance": "l2"},
             "at_far": {"1e-2": -0.5, "1e-3": 0.9999, "1e-4": 1}, "impostor": 99999,
             "origin": "made up", "model": "the float one"}  # fmt: skip
    card = changed(artefact, thresholds=table, fingerprint="the float one", precision="int8")
    # A thresholds file would be used before the card.
    page = visit(server, {f"{MODEL}.json": card, f"{MODEL}.thresholds.json": None})
    page.locator("#file-a").set_input_files(photos[0])
    page.locator("#file-b").set_input_files(photos[1])
    wait_for(page, "#verdict", "Different people")
    said = text(page, "#explanation")
    assert said.startswith("Group-aware similarity ")
    assert "Threshold 1.000 for 1 false accept in 1,000, measured on 99,999 impostor pairs" in said
    # One kind of score beside the threshold, and no FAR that rests on nine pairs.
    assert "Cosine" not in said
    assert page.locator("#far option").count() == 2
    assert text(page, "#origin") == "Measured on: made up"
    page.locator("#far").select_option("0.01")
    wait_for(page, "#verdict", "Same person")


def test_thresholds_of_another_model_decide_nothing(visit, server, artefact, photos):
    table = {"version": 1, "at_far": {"1e-3": 0.4}, "impostor": 99999, "model": "another"}
    page = visit(server, {f"{MODEL}.json": changed(artefact, thresholds=table),
                          f"{MODEL}.thresholds.json": None})  # fmt: skip
    page.locator("#file-a").set_input_files(photos[0])
    page.locator("#file-b").set_input_files(photos[1])
    wait_for(page, "#verdict", "Similarity")
    assert text(page, "#problem") == "The thresholds are for another model."
    assert page.locator("#far-field").is_hidden()


def test_the_server_takes_nothing_and_stays_in_its_folder(plain_server):
    request = urllib.request.Request(plain_server, b"a photo", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=10)
    for path in ("%2e%2e/CHANGELOG.md", "..%2f..%2fsetup.cfg", "%00", "nowhere"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(plain_server + path, timeout=10)
    wasm = "node_modules/@litertjs/core/wasm/litert_wasm_internal.wasm"
    with urllib.request.urlopen(plain_server + wasm, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/wasm"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_the_policy_of_the_page_is_a_header_too(plain_server, page):
    for file in ("", "src/main.js", "models/model.tflite", "none"):
        request = urllib.request.Request(plain_server + file)
        try:
            headers = urllib.request.urlopen(request).headers
        except urllib.error.HTTPError as error:
            headers = error.headers
        policy, own = headers["Content-Security-Policy"], "; frame-ancestors 'none'"
        assert policy.endswith(own)
        assert f'content="{policy.removesuffix(own)}"' in (KIT / "index.html").read_text("utf-8")
    # The policy applies in the page. The other tests show that the page works under it.
    blocked = "fetch('https://example.org/').then(() => 'sent', () => 'blocked')"
    assert page.evaluate(blocked) == "blocked"


def test_the_lock_file_names_no_registry():
    assert "resolved" not in (KIT / "package-lock.json").read_text()


def test_a_network_without_groups_is_compared_without_a_group_chart(
    visit, server, shared_data, photos, tmp_path
):
    path = tmp_path / "plain.tflite"
    backbone = gfkeras.backbones.MobileFaceNet(embedding_dim=16, bottlenecks=[(1, 8, 1, 2)])
    export_model(backbone, path, batch_size=1)
    card = path.with_name(f"{path.name}.json").read_bytes()
    page = visit(server, {MODEL: path.read_bytes(), f"{MODEL}.json": card,
                          f"{MODEL}.thresholds.json": None})  # fmt: skip
    page.locator("#file-a").set_input_files(photos[0])
    page.locator("#file-b").set_input_files(photos[1])
    wait_for(page, "#verdict", "Similarity")
    assert "no thresholds" in text(page, "#explanation")
    assert page.locator("#far-field").is_hidden()
    assert page.locator("#groups").is_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_precisions_embed_as_in_python(browser, golden, tmp_path, precision):
    path = tmp_path / "face.tflite"
    images = np.concatenate([golden.images] * 4) if precision == "int8" else None
    export_model(gfkeras.load(PRESET), path, precision=precision, batch_size=1, calibration=images)
    expected = gfkeras.Embedder(path)(golden.images)
    with served("--model", path) as address:
        page = browser.new_page()
        page.goto(address)
        found = embed_aligned(page, golden.images)
        page.close()
    assert cosines([face["embedding"] for face in found], expected.embedding).min() > 0.999
    assert [face["group"] for face in found] == expected.group.tolist()
