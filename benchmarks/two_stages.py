"""GroupFace in two stages against GroupFace from scratch: the loss on images not trained on.

    python benchmarks/two_stages.py [--data DIR] [--people 40] [--steps 132] [--second-rate 0.001]

Trains the recipe `groupface_mobilefacenet` at a small size: a MobileFaceNet of an eighth of the
width with two bottlenecks, a shared FC of 256, 8 groups, batches of 32. Both stages have `--steps`
steps, rounded to whole epochs. The people are those of DIR (CelebA by default) with the most
images. Three images of each are for validation and are not trained on.

From scratch, GroupFace is trained for the steps of the second stage, and for the steps of both
stages. All trainings have the same learning rate and schedule, but the second stage can have its
own rate, as in the paper. Prints the mean loss
L = ArcFace + 0.1·self-grouping on the validation images and the accuracy among the people, as
Markdown. The column "two stages lower" counts the seeds in which GroupFace in two stages has the
lower loss.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from _faces import SHARED, need

IMAGES, HELD_OUT = 20, 3


def small(steps: int, rate: float) -> dict[str, object]:
    """Returns the settings that make the recipe small."""
    return {
        "dtype_policy": "float32",
        "data.shift": 4,
        "model.num_groups": 8,
        "model.shared_dim": 256,
        "model.backbone": {
            "name": "MobileFaceNet", "width": 0.125, "stem": [64, 0],
            "bottlenecks": [[128, 64, 1, 4], [256, 128, 1, 2]],
        },
        "head.scale": 32.0,
        "head.margin": 0.2,
        "training.batch_size": 32,
        "training.steps": steps,
        "optimizer.learning_rate": rate,
        # The paper's schedule has 5/8, 2/8 and 1/8 of the steps at each rate.
        "schedule.milestones": [5 * steps / 8, 7 * steps / 8],
    }  # fmt: skip


def recipes(steps: int, rate: float, second: float, seed: int) -> dict[str, object]:
    """Returns the recipes to compare. `second` is the learning rate of the second stage."""
    from gfkeras.training import Recipe

    tables = Recipe.read("groupface_mobilefacenet").model_dump(exclude_none=True)

    def from_scratch(count: int) -> Recipe:
        return Recipe.parse(tables | {"stage": []}, small(count, rate) | {"seed": seed})

    # The first stage has groups of another number, so those of the second one start fresh.
    first = {
        "seed": seed,
        "stage.0.model.num_groups": 2,
        "stage.0.optimizer.learning_rate": rate,
        "stage.1.optimizer.learning_rate": second,
    }
    return {
        "two stages": Recipe.parse(tables, small(steps, rate) | first),
        "from scratch, the steps of stage 2": from_scratch(steps),
        "from scratch, the steps of both stages": from_scratch(2 * steps),
    }


def split_faces(data: Path, people: int):
    """Returns the faces for training and those for validation, of the same people."""
    from gfkeras.data import FaceFolder, Faces

    found = FaceFolder(data, min_images=IMAGES).load()
    counts = np.bincount(found.labels, minlength=len(found.identities))
    chosen = np.sort(np.argsort(-counts, kind="stable")[:people])
    faces = found.select(chosen.tolist())
    held = np.concatenate(
        [np.flatnonzero(faces.labels == i)[-HELD_OUT:] for i in range(len(chosen))]
    )
    rest = np.setdiff1d(np.arange(len(faces)), held)
    return tuple(
        Faces(faces.images[rows], faces.labels[rows], faces.identities) for rows in (rest, held)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="one folder of aligned faces per person")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--steps", type=int, default=132, help="steps of each stage")
    parser.add_argument("--rate", type=float, default=0.02, help="learning rate at first")
    parser.add_argument(
        "--second-rate", type=float, help="that of the second stage, by default equal"
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.data is None:
        need(SHARED / "celeba_aligned112")
    import keras

    from gfkeras.training import train

    class Validation(keras.callbacks.Callback):
        """Measures losses and accuracy on the images held out, at the end of each stage."""

        def __init__(self) -> None:
            super().__init__()
            self.found: list[dict[str, float]] = []

        def on_train_end(self, logs: object = None) -> None:
            images, labels = held.images, held.labels
            self.found.append(self.model.evaluate(images, labels, verbose=0, return_dict=True))

    second = options.second_rate or options.rate
    training, held = split_faces(options.data or SHARED / "celeba_aligned112", options.people)
    print(f"{len(training):,} images of {len(training.identities)} people, {len(held)} held out\n")
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in map(int, options.seeds.split(",")):
        for name, recipe in recipes(options.steps, options.rate, second, seed).items():
            keras.backend.clear_session()
            measured, begun = Validation(), time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                train(recipe, training, Path(folder) / "run", verbose=0, callbacks=[measured])
            *earlier, found = measured.found
            found["cpu_seconds"] = time.process_time() - begun
            if earlier:
                found["loss_after_stage_1"] = earlier[0]["loss"]
            rows.setdefault(name, []).append(found)
            print(f"seed {seed}, {name}: {found}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    report(rows)


def report(rows: dict[str, list[dict[str, float]]]) -> None:
    """Prints the table: mean ± standard deviation over the seeds."""
    two = np.array([found["loss"] for found in rows["two stages"]])
    print("\n| | loss | ArcFace's loss | accuracy % | two stages lower | CPU seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, seeds in rows.items():
        loss, identity, accuracy, seconds = (
            np.array([found[key] for found in seeds])
            for key in ("loss", "identity_loss", "accuracy", "cpu_seconds")
        )
        lower = f"{(two < loss).sum()} of {len(loss)}" if name != "two stages" else "–"
        print(
            f"| {name} | {loss.mean():.3f} ± {loss.std(ddof=1) if len(loss) > 1 else 0:.3f} "
            f"| {identity.mean():.3f} | {100 * accuracy.mean():.1f} | {lower} "
            f"| {seconds.mean():.0f} |"
        )
    if "loss_after_stage_1" in rows["two stages"][0]:
        first = np.mean([found["loss_after_stage_1"] for found in rows["two stages"]])
        print(f"\nAfter the first stage, ArcFace alone, the loss is {first:.3f}.")


if __name__ == "__main__":
    main()
