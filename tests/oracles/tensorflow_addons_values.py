"""Reference values of tensorflow-addons' triplet and N-pairs losses.

    python tensorflow_addons_values.py tensorflow_addons.npz

`make oracles` runs this in an environment with tensorflow-addons. README.md lists the keys.
"""

from __future__ import annotations

import itertools
import json
import platform
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from tensorflow_addons.losses import metric_learning

SEED = 20240531
DISTANCES = ("L2", "squared-L2", "angular")
MARGINS = (0.2, 1.0)
GRADIENT_DISTANCES = ("L2", "squared-L2")
GRADIENT_MARGIN = 0.2
# identical_rows has no gradients here. Its distances tie, and then a gradient is a convention.
GRADIENTS = ("random", "clustered", "collapsed", "one_image_class", "no_positive", "no_negative")
# Only small cases have matrices of distances, which would make the file large.
PAIRWISE = ("collapsed", "identical_rows", "one_image_class")

LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    "semihard": tfa.losses.TripletSemiHardLoss,
    "hard": tfa.losses.TripletHardLoss,
}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows of any length, with two to seven images of each identity."""
    labels = np.repeat(np.arange(6), [7, 5, 4, 4, 2, 2])
    return rng.normal(size=(24, 8)), rng.permutation(labels)


def unit_rows(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return unit(rng.normal(size=(24, 16))), np.repeat(np.arange(6), 4)


def clustered(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns unit rows of five identities.

    All negatives of the first three are farther than their positives. The other two have images
    at both ends of an axis.
    """
    centers = np.repeat(unit(rng.normal(size=(5, 8))), 4, axis=0)
    centers[[13, 15, 17, 19]] *= -1
    spread = np.repeat([0.1, 0.2, 0.3, 0.3, 0.3], 4)[:, None]
    noise = spread * rng.normal(size=(20, 8)) / np.sqrt(8)
    return unit(centers + noise), np.repeat(np.arange(5), 4)


def collapsed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns unit rows within a few degrees. Each identity has two rows at opposite sides."""
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    sides = np.concatenate([axes[:4], -axes[:4], np.zeros((4, 8))])
    rows = axes[4] + 0.05 * sides + 0.004 * rng.normal(size=(12, 8))
    return unit(rows), np.tile(np.arange(4), 3)


def identical_rows(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows with many equal distances, also between equal rows, without rounding errors.

    The rows have integer entries and norm 4, so every product, sum and cosine is exact in float32.
    """
    shapes = ([2, 2, 2, 2, 0, 0, 0, 0], [3, 2, 1, 1, 1, 0, 0, 0], [2, 2, 2, 1, 1, 1, 1, 0])
    rows = np.array([rng.permutation(shapes[i % 3]) * rng.choice([-1, 1], 8) for i in range(8)])
    rows[1] = rows[0]  # of one identity
    rows[6] = rows[0]  # of another
    rows[7] = rows[3]
    return rows, np.array([0, 0, 0, 1, 1, 1, 2, 2])


def one_image_class(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows in which two identities have one image, an anchor without a positive."""
    return rng.normal(size=(9, 8)), np.array([0, 1, 0, 2, 1, 0, 3, 1, 0])


def no_positive(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns one image of each identity."""
    return rng.normal(size=(6, 8)), np.arange(6)


def no_negative(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of a single identity."""
    return rng.normal(size=(6, 8)), np.zeros(6)


CASES = {
    "random": random,
    "unit": unit_rows,
    "clustered": clustered,
    "collapsed": collapsed,
    "identical_rows": identical_rows,
    "one_image_class": one_image_class,
    "no_positive": no_positive,
    "no_negative": no_negative,
}


def triplets(embeddings: np.ndarray, labels: np.ndarray, gradients: bool) -> dict[str, np.ndarray]:
    """Returns each loss for each distance and margin, and gradients by the embeddings."""
    values = {}
    for distance in DISTANCES:
        soft = tfa.losses.TripletHardLoss(soft=True, distance_metric=distance)
        values[f"soft-hard/{distance}"] = soft(
            labels, embeddings
        ).numpy()  # This loss has no margin.
        for name, margin in itertools.product(LOSSES, MARGINS):
            key = f"{name}/{distance}/margin{margin}"
            loss = LOSSES[name](margin=margin, distance_metric=distance)
            rows = tf.constant(embeddings)
            with tf.GradientTape() as tape:
                tape.watch(rows)
                value = loss(labels, rows)
            values[key] = value.numpy()
            if gradients and distance in GRADIENT_DISTANCES and margin == GRADIENT_MARGIN:
                values[f"{key}/gradient"] = tape.gradient(value, rows).numpy()
    return values


def pairwise(embeddings: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "pairwise/L2": metric_learning.pairwise_distance(embeddings, squared=False).numpy(),
        "pairwise/squared-L2": metric_learning.pairwise_distance(embeddings, squared=True).numpy(),
        "pairwise/angular": metric_learning.angular_distance(embeddings).numpy(),
    }


def npairs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the values for one batch of pairs, with different labels and with repeated ones."""
    anchors = rng.normal(size=(8, 6)).astype("float32")
    positives = (anchors + 0.5 * rng.normal(size=(8, 6))).astype("float32")
    values = {"anchors": anchors, "positives": positives, "similarity": anchors @ positives.T}
    for name, labels in (
        ("distinct", [3, 1, 4, 0, 5, 9, 2, 6]),
        ("repeated", [3, 1, 4, 1, 5, 3, 3, 6]),
    ):
        inputs = tf.constant(anchors), tf.constant(positives)
        labels = np.array(labels, "int32")
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = tfa.losses.NpairsLoss()(labels, tf.matmul(*inputs, transpose_b=True))
        by_anchors, by_positives = tape.gradient(value, inputs)
        values |= {
            f"{name}/labels": labels,
            f"{name}/loss": value.numpy(),
            f"{name}/gradient/anchors": by_anchors.numpy(),
            f"{name}/gradient/positives": by_positives.numpy(),
        }
    return {f"npairs/{key}": value for key, value in values.items()}


def main(target: str) -> None:
    # TensorFlow would warn that every margin and shape is traced again.
    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tensorflow": tf.__version__,
        "tensorflow_addons": tfa.__version__,
        "seed": SEED,
    }
    values = {"versions": np.array(json.dumps(versions))}
    for number, (case, draw) in enumerate(CASES.items()):
        # Each case has its own seed, so a new case does not change the others.
        embeddings, labels = draw(np.random.default_rng([SEED, number]))
        embeddings, labels = embeddings.astype("float32"), labels.astype("int32")
        found = {"embeddings": embeddings, "labels": labels}
        found |= triplets(embeddings, labels, gradients=case in GRADIENTS)
        if case in PAIRWISE:
            found |= pairwise(embeddings)
        values |= {f"{case}/{key}": value for key, value in found.items()}
    values |= npairs(np.random.default_rng([SEED, len(CASES), 0]))
    np.savez_compressed(target, **values)


if __name__ == "__main__":
    main(sys.argv[1])
