"""Forms of the operation "FC of the chosen group", timed in LiteRT.

    python benchmarks/_hard_ensemble_forms.py [--groups 32] [--batch-size 1] [--runs 300]

It makes the table in docs/export.md. Each form is exported as part of the whole H-GroupFace of
`h_groupface_latency.py`. The forms and the plain backbone run alternately.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h_groupface_latency as latency
import keras
import numpy as np

from gfkeras.backbones import MobileFaceNet
from gfkeras.export import export_model, graph
from gfkeras.inference.runtimes import LiteRTRuntime
from gfkeras.models import GroupFace

# Each takes the feature (B, F) and the gathered kernels, and returns (B, D).
Product = Callable[[Any, Any, Any], Any]


def gathered(product: Product, outputs_first: bool) -> Callable[..., Any]:
    """Returns a form that gathers kernels (K, D, F) or (K, F, D) and multiplies by them."""

    def form(tf: Any, kernel: np.ndarray, bias: np.ndarray, variable: Any) -> Any:
        if outputs_first:
            kernel = np.ascontiguousarray(kernel.transpose(0, 2, 1))
        kernels, biases = variable(kernel), variable(bias)

        def ensemble(feature: Any, group_logits: Any) -> Any:
            group = tf.math.argmax(group_logits, axis=-1, output_type=tf.int32)
            chosen = tf.gather(kernels, group)
            return product(tf, feature, chosen) + tf.gather(biases, group)

        return ensemble

    return form


def fully_connected(tf: Any, feature: Any, chosen: Any) -> Any:
    return tf.matmul(feature, tf.squeeze(chosen, 0), transpose_b=True)


def row_times_transposed(tf: Any, feature: Any, chosen: Any) -> Any:
    product = tf.matmul(tf.expand_dims(feature, 1), chosen, transpose_b=True)
    return tf.squeeze(product, 1)


def row_times_kernel(tf: Any, feature: Any, chosen: Any) -> Any:
    return tf.squeeze(tf.matmul(tf.expand_dims(feature, 1), chosen), 1)


def kernel_times_column(tf: Any, feature: Any, chosen: Any) -> Any:
    return tf.squeeze(tf.matmul(chosen, tf.expand_dims(feature, 2)), 2)


def multiply_and_sum(tf: Any, feature: Any, chosen: Any) -> Any:
    return tf.reduce_sum(chosen * tf.expand_dims(feature, 1), axis=-1)


def all_groups(tf: Any, kernel: np.ndarray, bias: np.ndarray, variable: Any) -> Any:
    """Computes every group's FC and keeps one result."""
    groups, width, dim = kernel.shape
    kernels = variable(kernel.transpose(1, 0, 2).reshape(width, groups * dim))
    biases = variable(bias)

    def ensemble(feature: Any, group_logits: Any) -> Any:
        group = tf.math.argmax(group_logits, axis=-1, output_type=tf.int32)
        each = tf.reshape(tf.matmul(feature, kernels), (-1, groups, dim))
        return tf.gather(each, group, batch_dims=1) + tf.gather(biases, group)

    return ensemble


FORMS = {
    "row x (D, F) transposed, BATCH_MATMUL": gathered(row_times_transposed, True),
    "row x (F, D), BATCH_MATMUL": gathered(row_times_kernel, False),
    "(D, F) x column, BATCH_MATMUL": gathered(kernel_times_column, True),
    "MUL and SUM over (D, F)": gathered(multiply_and_sum, True),
    "FULLY_CONNECTED, batch 1 only": gathered(fully_connected, True),
    "all K, then one selected": all_groups,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groups", type=int, default=32, metavar="K", help="number of groups")
    parser.add_argument("--batch-size", type=int, help="fixed in the artefact; any by default")
    parser.add_argument("--runs", type=int, default=300, help="measured runs of each form")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = latency.images(latency.IMAGES, rng)
    plain = MobileFaceNet(embedding_dim=512)
    model = GroupFace(MobileFaceNet(), num_groups=arguments.groups, shared_dim=None)
    for each in (plain, model):
        latency.trained_like(each, inputs[:16], rng)
    original = graph._hard
    with tempfile.TemporaryDirectory() as folder:

        def runtime(exported: keras.Model, name: str, **options: Any) -> LiteRTRuntime:
            path = Path(folder, f"{name}.tflite")
            export_model(exported, path, batch_size=arguments.batch_size, **options)
            return LiteRTRuntime(path, num_threads=1)

        runtimes = {"plain": runtime(plain, "plain")}
        for number, (name, form) in enumerate(FORMS.items()):
            graph._hard = form
            runtimes[name] = runtime(model, f"form{number}", mode="hard")
        graph._hard = original
        median = latency.measure(runtimes, inputs, arguments.runs)
    for name, milliseconds in median.items():
        ratio = milliseconds / median["plain"]
        print(f"K={arguments.groups} {name:40} {milliseconds:6.2f} ms {ratio:6.3f}x")


if __name__ == "__main__":
    main()
