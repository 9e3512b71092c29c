"""Trains one small network with every head and every loss, and verifies unseen faces with it.

    python examples/heads_and_losses_on_faces.py DATA/orl_faces [--holdout 10] [--seeds 3]

The network is a single linear layer on 14×14 grey pixels, so a training takes seconds. The example
shows how each head and loss is used, and that each learns something from real faces. It does not
show which is best. Batches are 8 people with 5 images each. AUC and EER are measured on all pairs
of the held-out people.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from gfkeras import FaceClassifier, heads, losses
from gfkeras.data import FaceBatches, FaceFolder, Faces, IdentitySampler
from gfkeras.evaluation import area_under_curve, equal_error_rate
from gfkeras.training.optimizers import AdamW

PEOPLE, PICTURES, SCALE = 8, 5, 16.0


def network(faces: Faces, dimensions: int = 64) -> keras.Model:
    """Returns one linear layer on 14×14 grey pixels, each normalised over `faces`."""
    images = keras.Input((112, 112, 3))
    pixels = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(images)[..., :1])
    normalize = keras.layers.Normalization(dtype="float32")
    # The same 8×8 averages as the pooling layer below, but in NumPy, to adapt the normalisation.
    small = faces.images[..., 0].reshape(-1, 14, 8, 14, 8).mean(axis=(2, 4))
    normalize.adapt(small.reshape(len(small), -1).astype("float32"))
    return keras.Model(images, keras.layers.Dense(dimensions)(normalize(pixels)))


def parts(num_classes: int) -> dict[str, Callable[[keras.Model], dict[str, Any]]]:
    """Returns the arguments of FaceClassifier for each row of the table, by name."""

    def head(name: str) -> Any:
        # For 30 people and few steps, 64 would be too large a scale.
        own = {} if name in ("Softmax", "SphereFace") else {"scale": SCALE}
        own |= {"lambda_start": 50.0} if name == "SphereFace" else {}
        own |= {"lower_norm": 1.0, "upper_norm": 20.0} if name == "MagFace" else {}
        if name == "PartialFC":
            # With 30 classes, a small rate would leave hardly any other centers to compare with.
            own = {"sample_rate": 0.6, "head_arguments": own}
        return heads.get(name, num_classes=num_classes, **own)

    rows: dict[str, Callable[[keras.Model], dict[str, Any]]] = {
        name: lambda teacher, name=name: {"head": head(name)} for name in heads.HEADS
    }
    for mining in ("all", "hard", "semi-hard"):
        rows[f"TripletLoss, {mining}"] = lambda teacher, mining=mining: {
            "extra_losses": losses.TripletLoss(mining=mining)
        }
    rows["ContrastiveLoss"] = lambda teacher: {"extra_losses": losses.ContrastiveLoss()}
    rows["NPairsLoss"] = lambda teacher: {"extra_losses": losses.NPairsLoss(l2_weight=0.02)}
    for name in ("CosineDistillationLoss", "RelationalDistillationLoss", "HarmonicTripletLoss"):
        rows[f"{name}, of ArcFace's"] = lambda teacher, name=name: {
            "extra_losses": losses.get(name),
            "teacher": teacher,
        }
    rows["NormSoftmax + CenterLoss"] = lambda teacher: {
        "head": head("NormSoftmax"),
        "extra_losses": losses.CenterLoss(num_classes),
    }
    rows["NormSoftmax + IntraLoss + InterLoss"] = lambda teacher: {
        "head": head("NormSoftmax"),
        "extra_losses": [losses.IntraLoss(), losses.InterLoss()],
    }
    return rows


def train(faces: Faces, arguments: dict[str, Any], seed: int, epochs: int = 20) -> keras.Model:
    """Returns the network after `epochs` of batches of PEOPLE with PICTURES each."""
    keras.utils.set_random_seed(seed)
    model = network(faces)
    if not epochs:
        return model
    training = FaceClassifier(model, **arguments)
    training.compile(AdamW(0.001, weight_decay=0.01, decay_norm_and_bias=True))
    sampler = IdentitySampler(faces.labels, PEOPLE, PICTURES, seed=seed)
    batches = FaceBatches(faces.images, faces.labels, sampler=sampler)
    # The sampler already draws the batches in random order.
    training.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    return training.model


def verify(model: keras.Model, faces: Faces) -> tuple[float, float]:
    """Returns AUC and EER of all pairs."""
    embedding = ops.convert_to_numpy(ops.normalize(model.predict(faces.images, verbose=0), axis=1))
    first, second = np.triu_indices(len(embedding), 1)
    scores = (embedding[first] * embedding[second]).sum(axis=1)
    same = faces.labels[first] == faces.labels[second]
    return area_under_curve(scores, same), equal_error_rate(scores, same)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder with one folder of aligned images per person")
    parser.add_argument("--holdout", type=int, default=10, help="people to verify on")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options = parser.parse_args()
    trained_on, heldout = (
        FaceFolder(options.data, min_images=2).load(resize=True).split(options.holdout)
    )
    print("| trained with | AUC | EER % |\n| --- | --- | --- |")
    rows = {"untrained": None, **parts(len(trained_on.identities))}
    # Distillation needs a teacher. It is trained with other seeds than the students.
    teachers = [
        train(trained_on, rows["ArcFace"](None), seed=100 + seed) for seed in range(options.seeds)
    ]
    for name, make in rows.items():
        scores = []
        for seed, teacher in enumerate(teachers):
            arguments = make(teacher) if make else {}
            model = train(trained_on, arguments, seed, 20 if make else 0)
            scores.append(verify(model, heldout))
        auc, eer = np.mean(scores, axis=0)
        low, high = np.min(scores, axis=0)[0], np.max(scores, axis=0)[0]
        print(f"| {name} | {auc:.3f} ({low:.3f} to {high:.3f}) | {100 * eer:.1f} |", flush=True)


if __name__ == "__main__":
    main()
