"""An Embedder that several threads share: each call gets the result for its own images."""

from __future__ import annotations

import threading
from collections.abc import Callable

import keras
import numpy as np
import pytest

from gfkeras.inference import Embedder

KINDS = ("keras", "savedmodel", "tflite", "fixed", "onnx")
THREADS, CALLS = 8, 30


def at_once(work: Callable[[int], None], threads: int = THREADS) -> None:
    """Runs work(0), work(1), … in threads that start together, and raises the first error."""
    barrier, errors = threading.Barrier(threads), []

    def run(number: int) -> None:
        try:
            barrier.wait(timeout=60)
            work(number)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    started = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in started)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_threads", [1, 3])
def test_each_call_gets_its_own_images_answer(artefacts, images, kind, num_threads):
    right = Embedder(artefacts[kind], num_threads=1)(images)
    # The threads start before anything is compiled or allocated.
    embedder = Embedder(artefacts[kind], num_threads=num_threads)

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(CALLS):
            rows = rng.permutation(len(images))[: rng.integers(1, 7)]
            found = embedder(images[rows])
            assert found.embedding.shape == right.embedding[rows].shape
            np.testing.assert_allclose(found.embedding, right.embedding[rows], atol=1e-4)
            np.testing.assert_array_equal(found.group, right.group[rows])

    at_once(work)


@pytest.mark.parametrize("kind", ["keras", "tflite", "onnx"])
def test_calls_of_all_kinds_at_once(artefacts, images, kind):
    """A batch, several batches, only the outputs, and images that a function loads."""
    right = Embedder(artefacts[kind], num_threads=1)(images)
    raw = Embedder(artefacts[kind], num_threads=1).outputs(images)["embedding"]
    embedder = Embedder(artefacts[kind], num_threads=2, batch_size=3)

    def work(number: int) -> None:
        for start in range(4):
            rows = np.roll(np.arange(len(images)), number + start)
            if number % 3 == 0:
                found = embedder(images[rows]).embedding
            elif number % 3 == 1:
                np.testing.assert_allclose(
                    embedder.outputs(images[rows])["embedding"], raw[rows], atol=1e-3
                )
                continue
            else:
                taken = images[rows]
                found = embedder.embed_loaded(list(rows), taken.__getitem__).embedding
            np.testing.assert_allclose(found, right.embedding[rows], atol=1e-4)

    at_once(work)


def test_two_embedders_share_a_keras_model(model, images):
    if keras.backend.backend() == "torch":
        pytest.skip("the package supports TensorFlow and JAX")
    right = Embedder(model)(images).embedding
    both = [Embedder(model), Embedder(model)]

    def work(number: int) -> None:
        for start in range(10):
            rows = np.roll(np.arange(len(images)), number + start)[: 1 + number % 4]
            found = both[number % 2](images[rows]).embedding
            np.testing.assert_allclose(found, right[rows], atol=1e-4)

    at_once(work)


def test_a_file_that_changes_meanwhile_changes_no_answer(artefacts, images, tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(artefacts["tflite"].read_bytes())
    embedder = Embedder(file, num_threads=2)
    expected = embedder(images[:1]).embedding
    # The file changes in place, like with `cp`. Further threads create their interpreters only now.
    with file.open("r+b") as opened:
        opened.truncate(1000)

    def work(number: int) -> None:
        np.testing.assert_allclose(embedder(images[:1]).embedding, expected, atol=1e-5)

    at_once(work)
