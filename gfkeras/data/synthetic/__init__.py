"""Procedural faces of people who never lived, for tests, benchmarks, demos and documentation.

Each person has fixed parameters (skin, bones, eyes, hair, habits). Pose, expression, light,
occlusion and camera differ from image to image. Seed, identity and variation determine each image.
"""

from gfkeras.data.synthetic.dataset import synthetic_faces, write_synthetic_folder
from gfkeras.data.synthetic.rendering import render_face

__all__ = ["render_face", "synthetic_faces", "write_synthetic_folder"]
