"""Asks TF Serving's REST API for embeddings, without TensorFlow.

    python serving_request.py a.png b.png > request.json
    python serving_request.py a.png b.png --url http://localhost:8501/v1/models/face:predict

The first prints the request, the second sends it and prints the cosine of the
first image with each.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request

import numpy as np
from face_embedding import Faces, compare, read_face


def request_body(images: np.ndarray) -> bytes:
    """The JSON of a request for (N, 112, 112, 3) images; whole numbers keep it small."""
    body = {"signature_name": "serving_default", "instances": images.tolist()}
    return json.dumps(body, separators=(",", ":")).encode()


def faces_of(answer: bytes) -> Faces:
    """The faces in an answer: one object of named outputs, or one embedding, for each image."""
    rows = json.loads(answer)["predictions"]
    if not isinstance(rows[0], dict):
        rows = [{"embedding": row} for row in rows]
    return Faces.of({n: np.array([row[n] for row in rows], np.float32) for n in rows[0]})


def ask(url: str, images: np.ndarray, timeout: float = 60) -> Faces:
    """Embeds images on a server."""
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, request_body(images), head)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return faces_of(answer.read())


def main(arguments: list[str] | None = None) -> int:
    """Prints or sends the request; returns the exit status."""
    parser = argparse.ArgumentParser(description="Ask TF Serving for embeddings.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="112x112, aligned")
    parser.add_argument("--url", help="…:8501/v1/models/NAME:predict")
    given = parser.parse_args(arguments)
    try:
        images = np.stack([read_face(path) for path in given.images])
        if given.url is None:
            print(request_body(images).decode())
            return 0
        faces = ask(given.url, images)
    except (ValueError, OSError, KeyError, IndexError) as error:
        print(f"{parser.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for path, cosine in zip(given.images, compare(faces[0], faces), strict=True):
        print(f"{cosine:.4f}  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
