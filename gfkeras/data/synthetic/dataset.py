"""Data sets of synthetic faces: arrays in memory or a folder of files."""

from pathlib import Path

import cv2
import numpy as np

from gfkeras.data.synthetic.identity import draw_identity
from gfkeras.data.synthetic.rendering import SIZE, check_count, check_strength, render_picture
from gfkeras.files import PathLike, replacing


def synthetic_faces(
    num_identities: int,
    images_per_identity: int,
    seed: int = 0,
    first_identity: int = 0,
    strength: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the same number of images of each of several people, person by person.

    Args:
        num_identities: number of people, at least 1.
        images_per_identity: number of images of each person, at least 1.
        seed: number of the population.
        first_identity: number of the first person. Use it to draw training and held-out people
            from one population without overlap.
        strength: how much images of a person differ, from 0 to 1.

    Returns:
        images, uint8 (N, 112, 112, 3) RGB, and labels, int32 (N,), counted from 0.

    Raises:
        ValueError: if an argument is not an integer, is too small, or is out of range.

    Example:
        >>> from gfkeras.data.synthetic import synthetic_faces
        >>> images, labels = synthetic_faces(num_identities=3, images_per_identity=2)
        >>> images.shape, labels.tolist()
        ((6, 112, 112, 3), [0, 0, 1, 1, 2, 2])
    """
    _check(num_identities, images_per_identity, seed, first_identity, strength)
    images = np.empty((num_identities, images_per_identity, SIZE, SIZE, 3), np.uint8)
    for person in range(num_identities):
        identity = int(first_identity + person)
        drawn = draw_identity(identity, int(seed))
        for variation in range(images_per_identity):
            image = render_picture(drawn, identity, variation, int(seed), SIZE, strength)
            images[person, variation] = image
    labels = np.repeat(np.arange(num_identities, dtype=np.int32), images_per_identity)
    return images.reshape(-1, SIZE, SIZE, 3), labels


def write_synthetic_folder(
    root: PathLike,
    num_identities: int,
    images_per_identity: int,
    seed: int = 0,
    first_identity: int = 0,
    strength: float = 1.0,
) -> Path:
    """Writes the images of `synthetic_faces` as `root`/id_00000/0000.png, one folder per person.

    A file gets its name when it is complete, and existing files are kept. After an interruption,
    repeat the call to finish it. A root that was written with another seed is not detected, so use
    a separate folder for each population.

    Args:
        root: folder to write to. It is created if it is missing.
        num_identities, images_per_identity, seed, first_identity, strength: as for
            `synthetic_faces`. The folders are numbered from `first_identity`.

    Returns:
        `root` as a Path.

    Raises:
        ValueError: as for `synthetic_faces`.
        NotADirectoryError or FileExistsError: if `root` is a file.
    """
    _check(num_identities, images_per_identity, seed, first_identity, strength)
    root = Path(root)
    for person in range(num_identities):
        identity = int(first_identity + person)
        folder = root / f"id_{identity:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        drawn = draw_identity(identity, int(seed))
        for variation in range(images_per_identity):
            path = folder / f"{variation:04d}.png"
            if path.exists():
                continue
            image = render_picture(drawn, identity, variation, int(seed), SIZE, strength)
            # OpenCV expects BGR.
            _, data = cv2.imencode(".png", image[..., ::-1])
            with replacing(path) as temporary:
                temporary.write_bytes(data.tobytes())
    return root


def _check(
    num_identities: int, images_per_identity: int, seed: int, first_identity: int, strength: float
) -> None:
    check_count("num_identities", num_identities, 1)
    check_count("images_per_identity", images_per_identity, 1)
    check_count("seed", seed, 0)
    check_count("first_identity", first_identity, 0)
    check_strength(strength)
