"""A new model for an old gallery: harmonic and distilled training against independent training.

    KERAS_BACKEND=jax python examples/compatible_embeddings.py --data DATA --out runs/compatible

For each seed, an old MobileFaceNet is trained with ArcFace on the first half of LFW's
peopleDevTrain. New networks are then trained on all of it: independently, with ArcFace plus the
harmonic triplet loss, and with ArcFace plus distillation of the old embedding. "tuned" follows
FaceNet: it starts from the independent network and uses harmonic triplets alone, first for the
embedding layer and then for the whole network. All are scored on pairsDevTest, by themselves and as
probes against the old network's gallery.

DATA holds `lfw_aligned112` and `lfw_lists`. Give the same command again to continue a run that was
interrupted. With `--seeds` and `--rows`, several processes can share the runs. Missing runs that a
row needs, such as the old network or "independent" for "tuned", are trained first. TensorFlow is
not needed. Each finished run writes one small JSON file.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data import FaceFolder, Faces
from gfkeras.data.folder import read_names
from gfkeras.evaluation import read_pairs
from gfkeras.experiments.studies import evaluate_cross_version
from gfkeras.inference import Embedder
from gfkeras.training import Recipe, train

ROWS = {
    "independent": "ArcFace, independent",
    "harmonic": "ArcFace + 30 · harmonic triplets",
    "harmonic_100": "ArcFace + 100 · harmonic triplets",
    "distilled": "ArcFace + 100 · distillation of the old",
    "tuned": "independent, then harmonic triplets alone",
}
# The loss that is added to ArcFace, and its weight.
ADDED = {
    "harmonic": ("HarmonicTripletLoss", 30.0),
    "harmonic_100": ("HarmonicTripletLoss", 100.0),
    "distilled": ("CosineDistillationLoss", 100.0),
}
FARS = (1e-1, 1e-2)
# The embedding layer of a MobileFaceNet.
EMBEDDING_LAYERS = ("embedding_fc", "embedding_bn")


def tables(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Returns the recipe that all networks share."""
    return {
        "seed": seed,
        "data": {"flip": True, "shift": 4},
        "augmentation": [
            {"name": "crop", "scale": [0.7, 1.0]},
            {"name": "color", "brightness_factor": 0.15, "contrast_factor": [0.3, 0.3]},
            {"name": "grayscale", "probability": 0.1},
        ],
        "model": {
            "name": "Backbone",
            "embedding_dim": 128,
            "backbone": {"name": "MobileFaceNet", "width": options.width},
        },
        "head": {"name": "ArcFace", "scale": 32.0, "margin": 0.3},
        "optimizer": {"name": "AdamW", "learning_rate": 0.002, "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup_epochs": 1.0},
        "training": {
            "epochs": options.epochs, "batch_size": options.batch_size, "workers": options.workers,
        },
    }  # fmt: skip


class Seed:
    """The runs with one seed."""

    def __init__(self, options: argparse.Namespace, seed: int):
        self.options, self.seed = options, seed
        self.old_embedder: Embedder | None = None

    def fit(self, name: str, recipe: dict[str, Any], half: bool = False) -> Path:
        """Returns the trained model. Trains it first if it does not exist."""
        out = self.options.out / f"{name}-{self.seed}"
        if not (out / "summary.json").is_file():
            faces = people(self.options.data, half, self.options.min_images)
            train(Recipe.parse(recipe), faces, out, resume=True, verbose=2)
        return out / "last"

    def old(self) -> Path:
        # Another seed: the old network must not start from the weights of the new ones.
        return self.fit("old", tables(self.options, 1000 + self.seed), half=True)

    def new(self, row: str) -> Path:
        """Returns the new network of a row."""
        recipe = tables(self.options, self.seed)
        if row == "tuned":
            return self.tuned()
        if row in ADDED:
            name, weight = ADDED[row]
            recipe["loss"] = [{"name": name, "weight": weight}]
            recipe["teacher"] = {"model": str(self.old())}
        return self.fit(row, recipe)

    def tuned(self) -> Path:
        """Trains as in FaceNet's appendix: first the embedding layer, then the whole network."""
        recipe = tables(self.options, self.seed)
        recipe["head"] = {"name": "none"}
        recipe["loss"] = [{"name": "HarmonicTripletLoss"}]
        recipe["teacher"] = {"model": str(self.old())}
        recipe["training"]["epochs"] = max(1, self.options.epochs // 4)
        start = self.new("independent")
        for name, frozen in (("tuned_layer", body(start)), ("tuned", [])):
            recipe["model"] = {"name": "Backbone", "init": str(start), "freeze": frozen}
            start = self.fit(name, recipe)
        return start

    def measure(self, row: str) -> dict[str, Any]:
        """Returns accuracy and TAR on pairsDevTest, by the versions of probe and gallery."""
        data = self.options.data
        pairs = read_pairs(data / "lfw_lists" / "pairsDevTest.txt", data / "lfw_aligned112")
        if self.old_embedder is None:
            self.old_embedder = Embedder(self.old())
        new = Embedder(self.new(row))
        found = evaluate_cross_version(new.embed_files, self.old_embedder.embed_files, pairs, FARS)
        return {
            "row": row,
            "seed": self.seed,
            "cross_accuracy": found.cross_accuracy,
            **{
                name: {key: each.to_json()[key] for key in ("accuracy", "auc", "eer", "tar_at_far")}
                for name, each in found.results.items()
            },
        }


# Decode the faces once for all runs of this process.
@functools.cache
def people(data: Path, half: bool, min_images: int) -> Faces:
    """Returns the faces of LFW's peopleDevTrain, or of its first half for the old network."""
    names = read_names(data / "lfw_lists" / "peopleDevTrain.txt")
    names = names[: len(names) // 2] if half else names
    return FaceFolder(data / "lfw_aligned112", names, min_images).load()


def body(folder: Path) -> list[str]:
    """Returns the names of all layers except the embedding's, for `model.freeze`."""
    import gfkeras

    names = [layer.name for layer in gfkeras.load(folder).layers if layer.weights]
    return [name for name in names if name not in EMBEDDING_LAYERS]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with lfw_aligned112/ and lfw_lists/"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and results")
    parser.add_argument("--epochs", type=int, default=24, help="epochs of each training")
    parser.add_argument("--batch-size", type=int, default=64, help="images in a batch")
    parser.add_argument("--width", type=float, default=1.0, help="width of the MobileFaceNets")
    parser.add_argument("--min-images", type=int, default=1, help="leave out people with fewer")
    parser.add_argument("--workers", type=int, default=1, help="threads that prepare batches")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run")
    parser.add_argument(
        "--rows", choices=ROWS, nargs="+", default=list(ROWS), help="rows of the table to run"
    )
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {row: [] for row in options.rows}
    for number in options.seeds:
        seed = Seed(options, number)
        for row in options.rows:
            kept = options.out / f"{row}-{number}.json"
            # A finished run is not repeated. Other processes may have written the file.
            if not kept.is_file():
                kept.write_text(json.dumps(seed.measure(row), indent=1) + "\n")
            results[row].append(json.loads(kept.read_text()))
            print(table(results), flush=True)


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Returns accuracies in per cent, mean ± standard deviation over seeds, in Markdown."""
    lines = ["| new network | new/new | new/old | old/old | seeds |", "|" + " --- |" * 5]
    for row, found in results.items():
        if found:
            columns = (
                [each["new/new"]["accuracy"] for each in found],
                [each["cross_accuracy"] for each in found],
                [each["old/old"]["accuracy"] for each in found],
            )
            cells = " | ".join(spread(values) for values in columns)
            lines.append(f"| {ROWS[row]} | {cells} | {len(found)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Returns the mean in per cent, ± the standard deviation if there are several values."""
    around = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{around}"


if __name__ == "__main__":
    main()
