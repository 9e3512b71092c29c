"""Benefit of synthetic identities for the bundled model: the same recipe with and without them.

    python examples/synthetic_identities.py --data DATA --teacher runs/ms1m --out runs/synthetic

Trains with the recipe of `zoo/h_groupface_mobilefacenet` for fewer epochs on LFW's peopleDevTrain,
and scores pairsDevTest by cosine. There are three arms. "lfw" trains on real people for `--epochs`.
"synthetic" adds `--identities` synthetic people and trains for as many epochs. "longer" trains on
real people only, for as many steps as "synthetic". DATA holds `lfw_aligned112` and `lfw_lists`.

Give the same command again to continue a run that was interrupted. The table shows the finished
runs. With `--seeds` and `--arms`, several processes can share the runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from gfkeras.data import FaceFolder, Faces
from gfkeras.data.synthetic import synthetic_faces
from gfkeras.evaluation import evaluate_pairs, read_pairs
from gfkeras.inference import Embedder
from gfkeras.training import Recipe, train

RECIPE = Path(__file__).resolve().parents[1] / "zoo" / "h_groupface_mobilefacenet" / "recipe.toml"
ARMS = ("lfw", "synthetic", "longer")


def together(real: Faces, images: np.ndarray, labels: np.ndarray) -> Faces:
    """Returns real and synthetic faces together, with separate identities."""
    people = [f"synthetic-{i:05d}" for i in range(labels.max() + 1)]
    return Faces(
        images=np.concatenate([real.images, images]),
        labels=np.concatenate([real.labels, labels + len(real.identities)]),
        identities=[*real.identities, *people],
    )


def recipe(seed: int, epochs: int, teacher: str) -> Recipe:
    tables = Recipe.read(RECIPE).model_dump(exclude_none=True)
    tables["seed"] = seed
    tables["training"]["epochs"] = epochs
    tables["teacher"]["model"] = teacher
    return Recipe.parse(tables)


def table(out: Path) -> str:
    """Returns mean ± standard deviation over the seeds of all finished runs, in Markdown."""
    lines = ["| | cosine % | seeds |", "| --- | --- | --- |"]
    for arm in ARMS:
        found = [json.loads(file.read_text()) for file in sorted(out.glob(f"{arm}-*.json"))]
        if found:
            mean, spread = np.mean(found), np.std(found, ddof=1) if len(found) > 1 else 0.0
            lines.append(f"| {arm} | {100 * mean:.2f} ± {100 * spread:.2f} | {len(found)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with lfw_aligned112/ and lfw_lists/"
    )
    parser.add_argument("--teacher", required=True, help="model folder of the teacher")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and results")
    parser.add_argument("--epochs", type=int, default=4, help='epochs of "lfw" and "synthetic"')
    parser.add_argument("--identities", type=int, default=1200, help="synthetic people")
    parser.add_argument("--pictures", type=int, default=4, help="images of each synthetic person")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run")
    parser.add_argument("--arms", choices=ARMS, nargs="+", default=list(ARMS), help="arms to run")
    options = parser.parse_args()
    lists, faces = options.data / "lfw_lists", options.data / "lfw_aligned112"
    real = FaceFolder(faces, lists / "peopleDevTrain.txt").load()
    pairs = read_pairs(lists / "pairsDevTest.txt", faces)
    # As many epochs of real faces as have the steps of "synthetic".
    longer = options.epochs * (1 + options.identities * options.pictures / len(real))
    for seed in options.seeds:
        for arm in options.arms:
            kept = options.out / f"{arm}-{seed}.json"
            # A finished run is not repeated. Other processes may have written the file.
            if not kept.is_file():
                trained, epochs = real, options.epochs
                if arm == "synthetic":
                    drawn = synthetic_faces(options.identities, options.pictures, seed=seed)
                    trained = together(real, *drawn)
                elif arm == "longer":
                    epochs = round(longer)
                run = train(
                    recipe(seed, epochs, options.teacher),
                    trained,
                    options.out / f"{arm}-{seed}",
                    resume=True,
                    verbose=2,
                )
                accuracy = evaluate_pairs(Embedder(run.last).embed_files, pairs).accuracy
                kept.write_text(f"{accuracy}\n")
            print(table(options.out), flush=True)


if __name__ == "__main__":
    main()
