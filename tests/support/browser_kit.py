"""The web kit in a real browser: its server, Debian's Chromium, and faces embedded in its page."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

KIT = Path(__file__).resolve().parents[2] / "export" / "web"

# JavaScript that treats a photo and an aligned face as the page does.
_PHOTO = """
async ({photo, model, detector}) => {
  const [{readPhoto}, {FaceDetector, largestFace}, {alignFace}, {Embedder}] = await Promise.all(
    ["photo", "detector", "align", "embedder"].map((name) => import(`/src/${name}.js`)));
  window.kit ??= Promise.all([FaceDetector.load(detector), Embedder.load(model)]);
  const [found, embedder] = await window.kit;
  const bytes = Uint8Array.from(atob(photo), (character) => character.charCodeAt(0));
  const pixels = await readPhoto(new Blob([bytes]));
  const face = largestFace(await found.detect(pixels));
  const aligned = alignFace(pixels, face.landmarks);
  const {embedding} = await embedder.embed(aligned);
  const crop = btoa(String.fromCharCode(...aligned.data));
  return {crop, embedding: [...embedding], landmarks: face.landmarks, score: face.score};
}
"""
_ALIGNED = """
async ({faces, model}) => {
  const {Embedder} = await import("/src/embedder.js");
  const embedder = await Embedder.load(model);
  const results = [];
  for (const face of faces) {
    const bytes = Uint8Array.from(atob(face), (character) => character.charCodeAt(0));
    const {embedding, group} = await embedder.embed(Float32Array.from(bytes));
    results.push({embedding: [...embedding], group});
  }
  return results;
}
"""
MODEL = "models/model.tflite"
DETECTOR = "models/face_detection_yunet_2023mar.onnx"


def missing(reason: str) -> NoReturn:
    """Skips the test, or fails with GFKERAS_REQUIRE_WEB=1, which `.ci/run` sets."""
    if os.environ.get("GFKERAS_REQUIRE_WEB") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def installed_packages() -> None:
    """Installs the npm packages of the kit's lock file on first use."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            missing(f"the web kit needs {program}, which is not installed")
    lock, done = KIT / "package-lock.json", KIT / "node_modules" / ".package-lock.json"
    if done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel", "error"]
    try:
        subprocess.run(command, cwd=KIT, check=True, capture_output=True, text=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as error:
        missing(f"npm ci failed in {KIT}: {getattr(error, 'stderr', None) or error}")


@contextmanager
def served(*arguments: str | Path) -> Iterator[str]:
    """Runs the kit's server and gives its address."""
    command = ["node", KIT / "serve.mjs", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser of Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        missing(f"the web kit's tests need Playwright: {error}")
    path = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
    if path is None:
        missing("the web kit's tests need chromium, which is not installed")
    # Chromium's sandbox does not run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def embed_photo(page: Any, photo: bytes) -> dict[str, Any]:
    """Returns the page's result for a photo: crop (112, 112, 3) uint8, embedding and landmarks."""
    given = {"photo": base64.b64encode(photo).decode(), "model": MODEL, "detector": DETECTOR}
    found = page.evaluate(_PHOTO, given)
    crop = np.frombuffer(base64.b64decode(found["crop"]), np.uint8).reshape(112, 112, 4)
    return {
        "crop": crop[..., :3],
        "embedding": np.array(found["embedding"]),
        "landmarks": np.array(found["landmarks"]),
        "score": found["score"],
    }


def embed_aligned(page: Any, images: np.ndarray, model: str = MODEL) -> list[dict[str, Any]]:
    """Returns the page's results for aligned faces, (N, 112, 112, 3) uint8."""
    faces = [base64.b64encode(image.tobytes()).decode() for image in images]
    return page.evaluate(_ALIGNED, {"faces": faces, "model": model})


def cosines(a: Any, b: Any) -> np.ndarray:
    """Returns the cosines row by row."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
