"""What each part of the model in the box is worth: ArcFace, groups, distillation, rung by rung.

    python examples/zoo_ladder.py --data DATA --teacher runs/ms1m --out runs/ladder

Trains every rung with each seed from the recipe of `zoo/h_groupface_mobilefacenet` with fewer
epochs, on LFW's peopleDevTrain, and scores it on pairsDevTest by cosine and by the group-aware
similarity; "groups" is how many of the 16 are really used there (exp of the entropy of their
shares). DATA holds `lfw_aligned112` and `lfw_lists`. A run that was cut goes on when the same
command is given again; the table is that of the runs that are done. `--seeds` and `--rungs` share
the runs among several processes: each with one core, two trained faster than one with both.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data import FaceFolder
from gfkeras.evaluation import GROUP_AWARE, effective_groups, evaluate_pairs, read_pairs
from gfkeras.inference import Embedder
from gfkeras.training import Recipe, train

RECIPE = Path(__file__).resolve().parents[1] / "zoo" / "h_groupface_mobilefacenet" / "recipe.toml"
RUNGS = ("arcface", "soft", "hard", "distilled")
TITLES = {
    "arcface": "ArcFace",
    "soft": "+ groups, soft",
    "hard": "+ groups, hard",
    "distilled": "hard + distillation",
}


def tables(rung: str, seed: int, epochs: int, teacher: str) -> dict[str, Any]:
    """The recipe of a rung: the box's own without the parts that are yet to come."""
    recipe = Recipe.read(RECIPE).model_dump(exclude_none=True)
    recipe["seed"] = seed
    recipe["training"]["epochs"] = epochs
    recipe["teacher"]["model"] = teacher
    if rung != "distilled":
        del recipe["teacher"]
        recipe["loss"] = [loss for loss in recipe["loss"] if loss["name"] == "SelfGroupingLoss"]
    if rung == "soft":
        recipe["model"]["mode"] = "soft"
    if rung == "arcface":
        model = recipe["model"]
        recipe["model"] = {"name": "Backbone", "embedding_dim": model["embedding_dim"],
                           "backbone": model["backbone"]}  # fmt: skip
        recipe["loss"] = []
    return recipe


def measure(model: Path, data: Path) -> dict[str, float]:
    """Accuracy in per cent on the pairs of people who were not trained on, and groups used."""
    pairs = read_pairs(data / "lfw_lists" / "pairsDevTest.txt", data / "lfw_aligned112")
    embedder = Embedder(model)
    found = {"cosine": 100 * evaluate_pairs(embedder.embed_files, pairs).accuracy}
    if embedder.mode is not None:
        by_groups = evaluate_pairs(embedder.embed_files, pairs, similarity=GROUP_AWARE)
        found["group-aware"] = 100 * by_groups.accuracy
        group = embedder.embed_files(pairs.files()).group
        found["groups"] = effective_groups(np.bincount(group))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", required=True, help="model folder of the network that teaches")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rungs", choices=RUNGS, nargs="+", default=list(RUNGS))
    options = parser.parse_args()
    people = options.data / "lfw_lists" / "peopleDevTrain.txt"
    folder = FaceFolder(options.data / "lfw_aligned112", people)
    results: dict[str, list[dict[str, float]]] = {rung: [] for rung in options.rungs}
    for seed in options.seeds:
        for rung in options.rungs:
            out = options.out / f"{rung}-{seed}"
            kept = out / "pairsDevTest.json"
            if not kept.is_file():
                recipe = Recipe.parse(tables(rung, seed, options.epochs, options.teacher))
                run = train(recipe, folder, out, resume=True, verbose=2)
                kept.write_text(json.dumps(measure(run.last, options.data)) + "\n")
            results[rung].append(json.loads(kept.read_text()))
            print(table(results))


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Mean ± standard deviation over the seeds, in Markdown."""
    lines = ["| | cosine % | group-aware % | groups | seeds |", "| --- | --- | --- | --- | --- |"]
    for rung, found in results.items():
        cells = []
        for kind in ("cosine", "group-aware", "groups"):
            values = [row[kind] for row in found if kind in row]
            spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.2f}{spread}" if values else "–")
        lines.append(f"| {TITLES[rung]} | {' | '.join(cells)} | {len(found)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
