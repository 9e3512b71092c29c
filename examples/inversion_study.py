"""Effect of steps, resolutions, views and batches on the images from model inversion.

The study attacks the public MobileFaceNet with photos and mean embeddings of people of LFW. Other
models judge the images, too. Each row writes one JSON file, and a row whose file exists is skipped.
The images of real people are saved next to the file. Do not publish them.

    python examples/inversion_study.py --data DATA --out runs/inversion --rows default,paper
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import gfkeras
from gfkeras.data import FaceFolder
from gfkeras.experiments.inversion import InversionSettings, invert
from gfkeras.experiments.inversion.judging import course, judged, judged_by_faces
from gfkeras.experiments.inversion.targets import Targets, of_estimated_classes, of_people
from gfkeras.files import replacing

DEFAULTS = InversionSettings()


def changed(**settings: Any) -> InversionSettings:
    return dataclasses.replace(DEFAULTS, **settings)


# The paper's settings: 20,000 steps at full size, no shifts, every batch normalisation.
PAPER = changed(steps=20_000, least_values=1, coarse=(1,), shift=0.0, mirror=False)
# (settings, batch size, form). "photo" is one photo, "mean" a person's mean embedding.
ROWS = {
    "default": (DEFAULTS, 32, "photo"),
    "default-mean": (DEFAULTS, 32, "mean"),
    "default-class": (DEFAULTS, 32, "class"),
    "batch-8": (DEFAULTS, 8, "photo"),
    "full-size": (changed(coarse=(1,)), 32, "photo"),
    "coarser": (changed(coarse=(8, 4, 2, 1)), 32, "photo"),
    "still": (changed(shift=0.0, mirror=False), 32, "photo"),
    "mirrored": (changed(shift=0.0, mirror=True), 32, "photo"),
    "shifted": (changed(shift=4.0, mirror=False), 32, "photo"),
    "views": (changed(shift=4.0, mirror=True), 32, "photo"),
    "all-statistics": (changed(least_values=1), 32, "photo"),
    "identity-5": (changed(identity_weight=5.0), 32, "photo"),
    "identity-100": (changed(identity_weight=100.0), 32, "photo"),
    "smooth": (changed(variation_weight=1e-2), 32, "photo"),
    "slow": (changed(learning_rate=0.1), 32, "photo"),
    "same-rate": (changed(finer_rate=1.0), 32, "photo"),
    "no-statistics": (changed(statistics_weight=0.0), 32, "photo"),
    "long": (changed(steps=5_000), 32, "photo"),
    "paper": (PAPER, 32, "photo"),
    "paper-class": (PAPER, 32, "class"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="with lfw_aligned112/ and models/")
    parser.add_argument("--out", type=Path, required=True, help="folder for results and images")
    parser.add_argument("--rows", default=",".join(ROWS), help=", ".join(ROWS))
    parser.add_argument("--people", type=int, default=32, help="number of people to attack")
    parser.add_argument("--steps", type=int, help="steps of every row, for a quick test")
    parser.add_argument("--also", default="h_groupface_mobilefacenet", help="judges, by commas")
    arguments = parser.parse_args()
    weights = arguments.data / "models" / "mobilefacenet_ms1m-0000.params"
    model = gfkeras.zoo.import_weights(weights)
    embedder = gfkeras.Embedder(model)
    folder = FaceFolder(arguments.data / "lfw_aligned112")
    counts = np.bincount(folder.labels)
    # People with many photos have a reliable mean embedding to judge by.
    able = [name for name, n in zip(folder.identities, counts, strict=True) if n >= 10]
    # A fixed seed, so that all rows attack the same people.
    names = sorted(np.random.default_rng(0).permutation(able)[: arguments.people].tolist())
    people = of_people(embedder, folder, names)
    photos = np.concatenate([faces[:1] for faces in people.faces])
    forms = {
        "mean": people.targets,
        "photo": Targets(people.targets.names, embedder(photos).embedding),
    }
    judges = {name: gfkeras.Embedder(name) for name in arguments.also.split(",")}
    owner = np.arange(len(names))
    for row in arguments.rows.split(","):
        file = arguments.out / f"{row}.json"
        # Finished rows are skipped, so an interrupted study can be continued.
        if file.is_file():
            continue
        settings, batch, form = ROWS[row]
        if arguments.steps:
            settings = dataclasses.replace(settings, steps=arguments.steps)
        if form == "class" and "class" not in forms:
            forms["class"] = of_estimated_classes(embedder, folder, names).targets
        targets = forms[form]
        started = time.perf_counter()
        pictures = invert(model, targets, settings, batch_size=batch)
        seconds = time.perf_counter() - started
        own = judged(embedder, pictures, targets, owner)
        others = {
            name: judged_by_faces(judge, pictures, people.faces, owner).summary()
            for name, judge in judges.items()
        }
        # Judge real photos against the same means, for comparison.
        real = {
            name: judged_by_faces(judge, photos, people.faces, owner).summary()
            for name, judge in judges.items()
        }
        report = {
            "row": row, "form": form, "batch": batch, "people": len(names),
            **own.summary(), "other_networks": others, "real_photos": real,
            "settings": dataclasses.asdict(settings), "seconds": seconds,
            "backend": keras.backend.backend(),
        }  # fmt: skip
        lines = [
            (name, f"cosine {own.cosine[i]:.3f}", [photos[i], pictures[i]])
            for i, name in enumerate(names)
        ]
        with replacing(arguments.out / f"{row}.png") as temporary:
            course(lines, [0, settings.steps]).save(temporary)
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(row, f"{own.cosine.mean():.3f}", f"{seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
