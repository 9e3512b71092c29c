"""Draws the effect of each augmentation of a recipe on synthetic faces, one row each.

python examples/augmentation_sheet.py docs/images/augmentation.jpg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from gfkeras.data import IMAGE_SIZE
from gfkeras.data.augmentation import Augmentation
from gfkeras.data.synthetic import render_face

# `probability` is 1 for layers that would leave images out, so that every image shows the effect.
ROWS: dict[str, dict[str, Any]] = {
    "flip, shift": {"flip": True, "shift": 8},
    "color": {
        "brightness_factor": 0.2,
        "contrast_factor": [0.3, 0.3],
        "saturation_factor": [0.35, 0.6],
    },
    "grayscale": {"probability": 0.5},
    "crop": {"scale": [0.6, 1.0]},
    "low_resolution": {"scale": [0.15, 0.5]},
    "blur": {"kernel_size": 7, "sigma": [0.9, 1.0], "probability": 1},
    "cutout": {"scale": [0.05, 0.2], "probability": 1},
    "zoom": {"height_factor": 0.2, "fill_mode": "nearest"},
    "rotation": {"factor": 0.04, "fill_mode": "nearest"},
    "rand_augment": {"factor": 0.15},
}
GAP, LABEL = 6, 250
FONT, INK = cv2.FONT_HERSHEY_SIMPLEX, (40, 40, 40)


def varied(name: str, arguments: dict[str, Any], faces: np.ndarray, seed: int) -> np.ndarray:
    if "flip" in arguments:
        return Augmentation(**arguments)(faces, np.random.default_rng(seed))
    augmentation = Augmentation(layers=[{"name": name, **arguments}])
    # Pass single images, because some layers draw only once per batch.
    return np.concatenate(
        [augmentation.apply_layers(face[None], (seed, i)) for i, face in enumerate(faces)]
    )


def row(pictures: np.ndarray, title: str, arguments: dict[str, Any]) -> np.ndarray:
    width = LABEL + len(pictures) * (IMAGE_SIZE + GAP)
    strip = np.full((IMAGE_SIZE + GAP, width, 3), 255, np.uint8)
    lines = [f"{name} = {json.dumps(value)}" for name, value in arguments.items()]
    # Center the text vertically next to the images.
    top = (IMAGE_SIZE - 20 * len(lines)) // 2
    cv2.putText(strip, title, (8, top + 4), FONT, 0.6, INK, 1, cv2.LINE_AA)
    for i, line in enumerate(lines):
        cv2.putText(strip, line, (8, top + 26 + 18 * i), FONT, 0.39, INK, 1, cv2.LINE_AA)
    for i, picture in enumerate(pictures):
        left = LABEL + i * (IMAGE_SIZE + GAP)
        strip[:IMAGE_SIZE, left : left + IMAGE_SIZE] = picture
    return strip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="image file to write")
    parser.add_argument("--seed", type=int, default=1, help="random seed")
    arguments = parser.parse_args()
    faces = np.stack([render_face(100 + i, 0, size=IMAGE_SIZE) for i in range(8)])
    rows = [row(faces, "as they come", {})]
    for title, settings in ROWS.items():
        rows.append(row(varied(title, settings, faces, arguments.seed), title, settings))
    Image.fromarray(np.concatenate(rows)[:-GAP, :-GAP]).save(arguments.out, quality=88)
