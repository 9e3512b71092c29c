"""Client for the REST API of TF Serving, without TensorFlow.

    python serving_request.py a.png b.png > request.json
    python serving_request.py a.png b.png --url http://localhost:8501/v1/models/face:predict

The first command prints the request. The second sends it and prints the cosine of the first image
with each image.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request

import numpy as np
from face_embedding import Faces, compare, read_face


def request_body(images: np.ndarray) -> bytes:
    """Returns the JSON of a request for (N, 112, 112, 3) uint8 images."""
    # Whole numbers and no spaces keep the request small.
    body = {"signature_name": "serving_default", "instances": images.tolist()}
    return json.dumps(body, separators=(",", ":")).encode()


def faces_of(answer: bytes) -> Faces:
    """Returns the faces in an answer of TF Serving."""
    rows = json.loads(answer)["predictions"]
    # A model with a single output answers with plain embeddings instead of named outputs.
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
    """Prints or sends the request. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Ask TF Serving for embeddings.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an aligned face of 112x112")
    parser.add_argument(
        "--url", help="address of the model, such as http://HOST:8501/v1/models/NAME:predict"
    )
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
