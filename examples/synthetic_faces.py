"""Draws the contact sheet of the README: synthetic people, two images of each.

python examples/synthetic_faces.py docs/images/synthetic_faces.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from gfkeras.data.synthetic import render_face

SIZE, GAP, COLUMNS, PICTURES = 150, 6, 8, 2


def contact_sheet(people: range) -> np.ndarray:
    faces = [render_face(p, v, size=SIZE) for p in people for v in range(PICTURES)]
    # Divide and round up.
    rows = -(-len(faces) // COLUMNS)
    sheet = np.full((rows * (SIZE + GAP) - GAP, COLUMNS * (SIZE + GAP) - GAP, 3), 255, np.uint8)
    for index, face in enumerate(faces):
        top, left = (side * (SIZE + GAP) for side in divmod(index, COLUMNS))
        sheet[top : top + SIZE, left : left + SIZE] = face
    return sheet


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="image file to write")
    parser.add_argument("--first", type=int, default=100, help="number of the first person")
    parser.add_argument("--people", type=int, default=16, help="number of people")
    arguments = parser.parse_args()
    people = range(arguments.first, arguments.first + arguments.people)
    Image.fromarray(contact_sheet(people)).save(arguments.out, quality=88)
