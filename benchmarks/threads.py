"""Threads that share an Embedder or a Gallery: wrong answers, and images per second.

    python benchmarks/threads.py [MODEL …] [--calls 10000] [--rounds 15] [--json FILE]

Each model (a preset, a model folder, a .tflite, .onnx or SavedModel, by default the bundled model)
is called by 8 threads with batches of 1 to 4 images. An answer is wrong if an embedding differs by
more than 1e-3 from the result of a single thread. Then 1, 2 and 8 threads embed one image a call.

For a .tflite, "one at a time" is the same with a lock around a single interpreter. The two forms
alternate, a fraction of a second each. The best round counts, because a busy machine can only slow
a round down. "ratio" is the median ratio of neighbouring rounds, which a busy machine changes less.

The gallery has 20,000 people of 512 dimensions. Threads search it while another thread adds people.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from gfkeras.inference import Embedder, Embeddings, Gallery
from gfkeras.zoo import DEFAULT_PRESET

# Numbers of threads, and the seconds of a turn.
THREADS, SECONDS = (1, 2, 8), 0.5


def run_threads(count: int, work: Callable[[int], None]) -> float:
    """Returns the seconds that `count` threads take, each running work(number)."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def wrong_answers(embedder: Embedder, calls: int) -> int:
    """Returns how many of `calls` calls by 8 threads got a wrong answer or an error."""
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (1 + n % 4, 112, 112, 3)).astype(np.uint8) for n in range(8)]
    # The results of a single thread are the reference.
    right = [embedder(batch).embedding for batch in batches]
    wrong = [0] * 8

    def work(number: int) -> None:
        for _ in range(calls // 8):
            try:
                found = embedder(batches[number]).embedding
            except (RuntimeError, ValueError):
                wrong[number] += 1
                continue
            same = found.shape == right[number].shape
            wrong[number] += not (same and np.abs(found - right[number]).max() < 1e-3)

    run_threads(8, work)
    return sum(wrong)


def calls_a_second(call: Callable[[], object], threads: int) -> float:
    counts, end = [0] * threads, time.perf_counter() + SECONDS

    def work(number: int) -> None:
        while time.perf_counter() < end:
            call()
            counts[number] += 1

    taken = run_threads(threads, work)
    return sum(counts) / taken


def speeds(forms: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[int, float]]:
    """Returns calls per second by form and number of threads, and the ratio of two forms."""
    found = {
        name: {threads: [calls_a_second(call, 1)] for threads in THREADS}
        for name, call in forms.items()
    }
    for _ in range(rounds):
        for threads in THREADS:
            for name, call in forms.items():
                found[name][threads].append(calls_a_second(call, threads))
    # Skip the first round, which only warms up.
    best = {name: {n: max(all_[1:]) for n, all_ in each.items()} for name, each in found.items()}
    if len(forms) == 2:
        one, other = found.values()
        ratios = {n: np.divide(one[n][1:], other[n][1:]) for n in THREADS}
        best["ratio"] = {n: float(np.median(each)) for n, each in ratios.items()}
    return best


def of_a_model(model: str, calls: int, rounds: int) -> dict[str, object]:
    embedder = Embedder(model)
    image = np.random.default_rng(1).integers(0, 256, (1, 112, 112, 3)).astype(np.uint8)
    embedder(image)
    forms: dict[str, Callable[[], object]] = {"shared": lambda: embedder(image)}
    # Only an interpreter that can be copied has the second form: one copy with a lock.
    if hasattr(embedder._runtimes.main, "copy"):
        single, turn = Embedder(model), threading.Lock()

        def one_at_a_time() -> None:
            with turn:
                single(image)

        forms["one at a time"] = one_at_a_time
    return {"wrong": wrong_answers(embedder, calls), "calls": calls} | speeds(forms, rounds)


def of_a_gallery(rounds: int, people: int = 20_000) -> dict[str, object]:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((people, 512)).astype(np.float32)
    gallery, probe = Gallery(), Embeddings(rows[7:8])
    gallery.add([f"p{n}" for n in range(people)], Embeddings(rows))
    turn, stop, wrong = threading.Lock(), threading.Event(), []

    def search() -> None:
        (found,) = gallery.search(probe, k=1)
        if found[0].name != "p7":
            wrong.append(found[0])

    def one_at_a_time() -> None:
        with turn:
            search()

    def change() -> None:
        number = 0
        # Change the gallery 100 times a second while others search it.
        while not stop.wait(0.01):
            row = Embeddings(rng.standard_normal((1, 512)).astype(np.float32))
            gallery.add(f"new{number}", row)
            if number % 2:
                gallery.remove(f"new{number - 1}")
            number += 1

    changing = threading.Thread(target=change)
    changing.start()
    found = speeds({"shared": search, "one at a time": one_at_a_time}, rounds)
    stop.set()
    changing.join()
    return {"wrong": len(wrong)} | found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=[DEFAULT_PRESET], help="models to measure")
    parser.add_argument("--calls", type=int, default=10_000, help="calls that are checked")
    parser.add_argument("--rounds", type=int, default=15, help="measured rounds")
    parser.add_argument("--json", type=Path, help="write the results here")
    given = parser.parse_args()
    results = {model: of_a_model(model, given.calls, given.rounds) for model in given.models}
    results["gallery"] = of_a_gallery(given.rounds)
    for name, found in results.items():
        print(name)
        for key, value in found.items():
            if isinstance(value, dict):
                form = "{:.2f}" if key == "ratio" else "{:.0f}/s"
                value = ", ".join(f"{n} threads {form.format(v)}" for n, v in value.items())
            print(f"  {key}: {value}")
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
