"""Wrong labels that `gfkeras clean` finds, and the benefit of training without them.

    python examples/label_noise.py --data DATA --faces orl lfw --out runs/label_noise

A share of the images, drawn by a seed, gets the label of another person. Then all of
`gfkeras clean --angle auto --retrain` runs on them. For comparison, networks with one center are
trained on all labels, including the wrong ones ("noisy"), and with `--known` on the right labels
only, as if they were known. All trainings have the same number of batches. The test people are not
trained on: ORL's s31-s40 (all pairs) and LFW's pairsDevTest.

DATA holds `orl_faces`, `lfw_aligned112` and `lfw_lists`. From LFW's peopleDevTrain, people with at
least 10 images are used, with at most 30 images each. Give the same command again to continue a run
that was interrupted. With `--seeds`, `--shares` and `--faces`, several processes can share the
runs. The table, and the plot of `--plot`, show the finished runs in --out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.data import FaceFolder, read_image
from gfkeras.data.folder import write_image_list
from gfkeras.evaluation import PairList, all_pairs, evaluate_pairs, read_pairs
from gfkeras.experiments.cleaning import clean, flip_labels, operating_curve
from gfkeras.experiments.cleaning.recipes import with_same_updates
from gfkeras.experiments.cleaning.sub_centers import automatic_angle
from gfkeras.inference import Embedder, FileEmbeddings
from gfkeras.training import Recipe, train

ANGLES = np.arange(40.0, 111.0)
# The paper's angle, and the largest share of right labels that may be lost.
CUT, MOST_LOST = 75.0, 0.10
KINDS = ("noisy", "sub-centers", "cleaned", "known")
BOX = "h_groupface_mobilefacenet"


def recipe_of(faces: str, seed: int, settings: list[str]) -> Recipe:
    """Returns the recipe with one center: ORL's own, or for LFW a wider network and more data."""
    tables = Recipe.read("orl_arcface").model_dump(exclude_none=True)
    tables["seed"] = seed
    tables["data"]["holdout_identities"] = 0
    if faces == "orl-box":
        tables["model"] = {"init": BOX}
        tables["optimizer"]["learning_rate"] = 0.0003
        tables["training"]["epochs"] = 10
    if faces == "lfw":
        tables["data"]["shift"] = 4
        tables["model"]["backbone"]["width"] = 0.5
        tables["training"] |= {"epochs": 25, "batch_size": 64}
    return Recipe.parse(tables, settings)


def training_images(faces: str, data: Path) -> FaceFolder:
    """Returns the people to train on, with their right labels."""
    if faces.startswith("orl"):
        return FaceFolder(data / "orl_faces").split(10)[0]
    people = data / "lfw_lists" / "peopleDevTrain.txt"
    folder = FaceFolder(data / "lfw_aligned112", people, min_images=10)
    count: dict[str, int] = {}
    images: dict[str, str] = {}
    for name, person in folder.listed():
        count[person] = count.get(person, 0) + 1
        # A few people have hundreds of photos and would dominate the result.
        if count[person] <= 30:
            images[name] = person
    return FaceFolder(folder.root, images=images)


def pairs_of(faces: str, data: Path) -> PairList:
    if faces.startswith("orl"):
        heldout = FaceFolder(data / "orl_faces").split(10)[1]
        return all_pairs(heldout.paths, heldout.labels)
    return read_pairs(data / "lfw_lists" / "pairsDevTest.txt", data / "lfw_aligned112")


def measure(model: Path, pairs: PairList) -> dict[str, float]:
    """Measures pairs of people that were not trained on, in per cent."""
    embedder = Embedder(model)

    def embed(files: list[Path]) -> FileEmbeddings:
        # ORL's faces are 92×112 pixels, so they need resizing.
        return embedder.embed_files(files, lambda file: read_image(file, resize=True))

    found = evaluate_pairs(embed, pairs)
    return {"auc": 100 * found.auc, "eer": 100 * found.eer, "accuracy": 100 * found.accuracy}


def run(faces: str, share: float, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Runs everything for one set of flipped labels."""
    out = options.out / f"{faces}-{round(100 * share)}-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    folder = training_images(faces, options.data)
    labels, flipped = flip_labels(folder.labels, share, seed)
    names = [name for name, _ in folder.listed()]
    given = [folder.identities[label] for label in labels]
    write_image_list(out / "noisy.txt", zip(names, given, strict=True))
    known = [pair for pair, wrong in zip(folder.listed(), flipped, strict=True) if not wrong]
    write_image_list(out / "known.txt", known)
    recipe = recipe_of(faces, seed, options.set)
    noisy = FaceFolder(folder.root, images=out / "noisy.txt")
    cleaning = clean(
        recipe, noisy, out / "clean", angle="auto", retrain=True, resume=True, verbose=2
    )
    models = {"sub-centers": cleaning.run / "last", "cleaned": cleaning.out / "retrained" / "last"}
    for kind in ("noisy", "known") if options.known else ("noisy",):
        chosen = FaceFolder(folder.root, images=out / f"{kind}.txt")
        # Fewer images train for more epochs, so that all networks get the same number of updates.
        same = with_same_updates(recipe, len(noisy), len(chosen))
        models[kind] = train(same, chosen, out / kind, resume=True, verbose=2).last
    wrong = {name for name, is_wrong in zip(names, flipped, strict=True) if is_wrong}
    # The list orders people by their first image, so find rows by name and not by position.
    is_wrong = np.array([name in wrong for name, _ in noisy.listed()])
    angles = cleaning.centers.angles
    pairs = pairs_of(faces, options.data)
    dropped = {image.image: image.looks_like for image in cleaning.dropped}
    true_name = dict(folder.listed())
    found = [name for name in dropped if name in wrong]
    automatic = dataclasses.asdict(
        operating_curve(angles, is_wrong, [automatic_angle(angles)[0]])[0]
    )
    return {
        "faces": faces,
        "share": share,
        "seed": seed,
        "images": len(names),
        "identities": len(folder.identities),
        "epochs": recipe.training.epochs,
        "median_angle": {
            "right": float(np.median(angles[~is_wrong])),
            "wrong": float(np.median(angles[is_wrong])),
        },
        "dominant_share": float(np.nanmean(cleaning.centers.share)),
        "looks_like_right": float(np.mean([dropped[name] == true_name[name] for name in found])),
        "automatic": automatic,
        "curve": [
            [point.angle, round(point.found, 4), round(point.lost, 4)]
            for point in operating_curve(angles, is_wrong, ANGLES)
        ],
        "scores": {kind: measure(model, pairs) for kind, model in models.items()},
    }


def spread(values: list[float], digits: int = 1) -> str:
    """Returns mean ± standard deviation."""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def at_cut(result: dict[str, Any]) -> tuple[float, float]:
    """Returns the shares of wrong and right labels dropped at the default angle, in per cent."""
    return next((100 * found, 100 * lost) for a, found, lost in result["curve"] if a == CUT)


def automatic_cut(results: list[dict[str, Any]]) -> str:
    """Returns the range of angles of `--angle auto`, and the shares that it finds and loses."""
    cuts = [result["automatic"] for result in results]
    angles = sorted(cut["angle"] for cut in cuts)
    found, lost = (spread([100 * cut[key] for cut in cuts]) for key in ("found", "lost"))
    return f"{angles[0]:.0f}° to {angles[-1]:.0f}°: {found} %, {lost} %"


def best_cut(results: list[dict[str, Any]]) -> tuple[float, str, str]:
    """Returns the angle with the largest found − lost, averaged over all seeds."""
    curves = 100 * np.array([result["curve"] for result in results])
    best = int(np.argmax((curves[:, :, 1] - curves[:, :, 2]).mean(axis=0)))
    return (
        results[0]["curve"][best][0],
        spread(curves[:, best, 1].tolist()),
        spread(curves[:, best, 2].tolist()),
    )


def tables(results: list[dict[str, Any]]) -> str:
    """Returns the tables of labels found and lost, and of scores, in Markdown."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda r: (r["faces"], r["share"], r["seed"])):
        groups.setdefault((result["faces"], result["share"]), []).append(result)
    lines = [
        f"| faces | flipped | found at {CUT:g}° | lost at {CUT:g}° | `auto`: found, lost | best: "
        "found, lost | "
        "median angle right, wrong | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (faces, share), group in groups.items():
        found, lost = zip(*map(at_cut, group), strict=True)
        angle, best_found, best_lost = best_cut(group)
        medians = [np.mean([r["median_angle"][kind] for r in group]) for kind in ("right", "wrong")]
        lines.append(
            f"| {faces} | {share:.0%} | {spread(list(found))} % | {spread(list(lost))} % | "
            f"{automatic_cut(group)} | "
            f"{angle:g}°: {best_found} %, {best_lost} % | {medians[0]:.0f}°, {medians[1]:.0f}° | "
            f"{len(group)} |"
        )
    kinds = [kind for kind in KINDS if any(kind in result["scores"] for result in results)]
    for figure in ("auc", "eer", "accuracy"):
        lines += ["", f"| {figure} % | {' | '.join(kinds)} | cleaned − noisy |"]
        lines.append("| --- |" + " --- |" * (len(kinds) + 1))
        for (faces, share), group in groups.items():
            scores = {k: [r["scores"][k][figure] for r in group if k in r["scores"]] for k in kinds}
            cells = [spread(scores[kind], 2) if scores[kind] else "–" for kind in kinds]
            gains = [r["scores"]["cleaned"][figure] - r["scores"]["noisy"][figure] for r in group]
            lines.append(f"| {faces}, {share:.0%} | {' | '.join(cells)} | {spread(gains, 2)} |")
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    from gfkeras.evaluation.plots.style import save_figure
    from gfkeras.experiments.cleaning.plots import operating_curves
    from gfkeras.experiments.cleaning.sub_centers import OperatingPoint

    curves: dict[str, list[list[OperatingPoint]]] = {}
    for result in sorted(results, key=lambda r: (r["faces"], r["share"], r["seed"])):
        name = f"{result['faces'].upper()}, {result['share']:.0%} flipped"
        points = [OperatingPoint(*point) for point in result["curve"]]
        curves.setdefault(name, []).append(points)
    save_figure(operating_curves(curves, CUT, MOST_LOST), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="data folder; without it, only make the table")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and results")
    parser.add_argument(
        "--faces",
        nargs="+",
        choices=("orl", "orl-box", "lfw"),
        default=["orl"],
        help="data sets to run",
    )
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0.2, 0.4], help="shares of wrong labels"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run")
    parser.add_argument("--set", nargs="*", default=[], help="changes of the recipe, a.b=value")
    parser.add_argument("--known", action="store_true", help="also train on the right labels only")
    parser.add_argument("--keep-runs", action="store_true", help="keep checkpoints and models")
    parser.add_argument("--plot", type=Path, help="file for the operating curves, .png or .svg")
    options = parser.parse_args()
    results_folder = options.out / "results"
    for faces in options.faces if options.data else []:
        for share in options.shares:
            for seed in options.seeds:
                kept = results_folder / f"{faces}-{round(100 * share)}-{seed}.json"
                if not kept.is_file():
                    result = run(faces, share, seed, options)
                    results_folder.mkdir(parents=True, exist_ok=True)
                    kept.write_text(json.dumps(result) + "\n", encoding="utf-8")
                    # Checkpoints of all runs would fill the disk. The result file holds everything
                    # that the table needs.
                    if not options.keep_runs:
                        shutil.rmtree(options.out / kept.stem)
    results = [json.loads(path.read_text("utf-8")) for path in results_folder.glob("*.json")]
    if not results:
        parser.error("`--data` is needed: there is no result in --out yet")
    print(tables(results))
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
