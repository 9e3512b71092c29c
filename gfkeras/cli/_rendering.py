"""The demo's synthetic people, rendered by as many processes as there are processors."""

from __future__ import annotations

import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from gfkeras.data.synthetic import write_synthetic_folder
from gfkeras.processors import usable_processors


def render_people(root: Path, people: int, images: int, seed: int, strength: float = 1.0) -> Path:
    """Writes `people` folders of `images` faces each; what is there already is kept.

    Args:
        root: its name should hold the numbers, since a folder of another seed is not noticed.
        people: how many identities.
        images: of each.
        seed: of the population.
        strength: how much pictures of a person differ, from 0 to 1.
    """
    workers = min(usable_processors(), people)
    bounds = [people * i // workers for i in range(workers + 1)]
    jobs = [
        (root, last - first, images, seed, first, strength)
        for first, last in itertools.pairwise(bounds)
    ]
    if workers == 1:
        write_synthetic_folder(*jobs[0])
        return root
    # Spawned, not forked: the parent's threads would be copied in whatever state they are in.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for job in [pool.submit(write_synthetic_folder, *job) for job in jobs]:
            job.result()
    return root
