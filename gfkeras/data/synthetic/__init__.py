"""Procedural faces: people that never lived, for tests, benchmarks, demos and documentation.

Every person has fixed parameters (skin, bones, eyes, hair, habits); pose, expression, light,
occlusion and camera change from picture to picture. All of it follows from three numbers: seed,
identity, variation.
"""

from gfkeras.data.synthetic.dataset import synthetic_faces, write_synthetic_folder
from gfkeras.data.synthetic.rendering import render_face

__all__ = ["render_face", "synthetic_faces", "write_synthetic_folder"]
