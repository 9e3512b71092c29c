"""IJB-C's 1:1 verification: time and memory for 23,124 templates and 15,658,489 pairs.

    python benchmarks/ijb_verification.py [--templates 23124] [--pairs 15658489] [--json FILE]

Embeddings and group features are random, with 3,531 subjects as in IJB-C. Each way runs in its own
process, from the arrays to TAR at every FAR, because the peak of memory belongs to a process. The
comparison does the same as InsightFace's evaluation: NumPy sums pairs in chunks of 100,000, and
scikit-learn computes the ROC.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
SUBJECTS = 3531
# Limits of time and memory.
SECONDS, GIBIBYTES = 60, 4
WAYS = ("peer", "cosine", "group-aware", "cosine with intervals")


def make(templates: int, pairs: int):
    """Returns templates in memory, and pairs as in IJB-C: 0.12 % genuine."""
    from gfkeras.evaluation.similarity import unit
    from gfkeras.evaluation.template_pooling import PooledTemplates

    rng = np.random.default_rng(0)
    subject = rng.integers(0, SUBJECTS, templates)
    people = rng.standard_normal((SUBJECTS, 512), np.float32)
    embedding = people[subject] + 1.6 * rng.standard_normal((templates, 512), np.float32)
    group = rng.standard_normal((templates, 256), np.float32)
    ids = np.arange(templates)
    pooled = PooledTemplates(ids, unit(embedding), unit(group), ids[:0])
    first, second = rng.integers(0, templates, (2, pairs))
    # Random pairs are nearly all impostors. Replace a few by genuine pairs.
    mates = rng.random(pairs) < 0.00125
    order = np.argsort(subject, kind="stable")
    # The next template of the same subject. The last one is followed by the first.
    following = np.empty(templates, np.int64)
    following[order] = np.roll(order, -1)
    second[mates] = following[first[mates]]
    return pooled, first, second, subject[first] == subject[second], subject


def run(way: str, templates: int, pairs: int) -> dict[str, float]:
    pooled, first, second, same, subject = make(templates, pairs)
    start = time.perf_counter()
    if way == "peer":
        from sklearn.metrics import roc_curve

        scores = np.zeros(len(first))
        for begin in range(0, len(first), 100_000):
            rows = slice(begin, begin + 100_000)
            a, b = pooled.embedding[first[rows]], pooled.embedding[second[rows]]
            scores[rows] = np.sum(a * b, -1)
        far, tar, _ = roc_curve(same, scores)
        tars = [float(tar[np.searchsorted(far, target, side="right") - 1]) for target in FARS]
    else:
        from gfkeras.evaluation import COSINE, GROUP_AWARE, evaluate_ijb_verification

        result = evaluate_ijb_verification(
            pooled,
            (first, second, same),
            GROUP_AWARE if way == "group-aware" else COSINE,
            FARS,
            (np.arange(templates), subject),
            replicates=200 if way.endswith("intervals") else 0,
        )
        tars = list(result.tar_at_far.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": time.perf_counter() - start, "gibibytes": peak, "tars": tars}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--templates", type=int, default=23_124, help="number of templates")
    parser.add_argument("--pairs", type=int, default=15_658_489, help="number of pairs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(run(arguments.way, arguments.templates, arguments.pairs)))
        return
    results = {}
    print(f"{arguments.templates:,} templates, {arguments.pairs:,} pairs, 512 dimensions")
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way]
        command += ["--templates", str(arguments.templates), "--pairs", str(arguments.pairs)]
        child = subprocess.run(command, capture_output=True, text=True, check=True)
        results[way] = found = json.loads(child.stdout.splitlines()[-1])
        ratio = found["seconds"] / results["peer"]["seconds"]
        within = found["seconds"] <= SECONDS and found["gibibytes"] <= GIBIBYTES
        verdict = "" if way == "peer" else f"  ({'within' if within else 'OVER'} the limits)"
        print(
            f"  {way:22} {found['seconds']:5.1f} s = {ratio:.2f} of the peer, peak "
            f"{found['gibibytes']:.2f} GiB{verdict}"
        )
    # Float32 sums differ in the last bits, which can move single pairs across a threshold.
    same = np.allclose(results["peer"]["tars"], results["cosine"]["tars"], atol=2e-4)
    print(
        f"  limits: {SECONDS} s, {GIBIBYTES} GiB; TARs those of the peer: {'yes' if same else 'NO'}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
