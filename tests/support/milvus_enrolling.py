"""Changes to a gallery in processes that are killed at any moment."""

import itertools
import os
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from gfkeras.inference import Embeddings, Gallery

WIDTH, GROUPS = 16, 8


def photos(names):
    """Returns one photo of each person, always the same one."""
    rngs = [np.random.default_rng(zlib.crc32(name.encode())) for name in names]
    embedding = np.array([rng.standard_normal(WIDTH) for rng in rngs], np.float32)
    group = np.array([rng.standard_normal(GROUPS) for rng in rngs], np.float32)
    return Embeddings(embedding, group)


def change(number):
    """Returns the change at step `number`: a method of `Gallery`, and the people."""
    return (
        ("add", [f"a{number}"]),
        ("add", [f"{letter}{number}" for letter in "bcde"]),
        ("update", [f"a{number - 2}", f"b{number - 1}", f"f{number}"]),
        ("remove", [f"a{number - 3}", f"c{number - 2}"]),
        ("update", [f"b{number - 3}"]),
    )[number % 5]


def photos_after(steps):
    """Returns the number of photos of each person after a number of steps."""
    kept = {}
    for number in range(steps):
        what, names = change(number)
        for name in names:
            if what == "remove":
                del kept[name]
            else:
                kept[name] = kept.get(name, 0) + 1
    return kept


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def enrol(location, first):
    """Makes changes in an endless loop, and prints each change that is acknowledged."""
    parent = os.getppid()
    gallery = Gallery(location)
    for number in itertools.count(first):
        what, names = change(number)
        if what == "remove":
            gallery.remove(names)
        else:
            getattr(gallery, what)(names, photos(names))
        say(number)
        if os.getppid() != parent:
            return


def serve():
    """Enrols in a forked process for each order in the named file, until the process is killed.

    A fork is faster than a new Python that imports everything again.
    """
    import milvus_lite.server_manager
    import pymilvus  # noqa: F401

    assert milvus_lite.server_manager
    order, parent = Path(sys.argv[1]), os.getppid()
    while os.getppid() == parent:
        if not order.exists():
            time.sleep(0.01)
            continue
        location, first = order.read_text().split("\n")
        order.unlink()
        if pid := os.fork():
            os.waitpid(pid, 0)
            say("dead")
        else:
            say(os.getpid())
            enrol(location, int(first))
            os._exit(0)
