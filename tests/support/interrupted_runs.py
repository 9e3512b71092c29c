"""Runs that are killed or stopped at a step, and the comparison of two runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import gfkeras
from gfkeras.training import train

SCRIPT = """
import os, signal, sys
import numpy as np, keras
from gfkeras.data import Faces
from gfkeras.training import Recipe, train

out, die_after, resume = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "resume"
rng = np.random.default_rng(0)
labels = np.repeat(np.arange(6), 4).astype(np.int32)
colours = rng.integers(40, 216, (6, 1, 1, 3))
images = colours[labels] + rng.integers(-30, 31, (24, 112, 112, 3))
faces = Faces(images.astype(np.uint8), labels)
recipe = Recipe.read(sys.argv[4])

class Die(keras.callbacks.Callback):
    steps = 0
    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        print(self.steps, flush=True)
        if self.steps == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

train(recipe, faces, out, resume=resume, verbose=0, callbacks=[Die()])
print("done")
"""


def arrays_of(folder) -> dict[str, np.ndarray]:
    """Returns the arrays of the newest checkpoint."""
    newest = max((folder / "checkpoints").glob("step-*"))
    with np.load(newest / "variables.npz") as stored:
        return dict(stored)


def assert_same_run(found, expected) -> None:
    """Compares weights, optimizer, random states and logs bit for bit."""
    ours, theirs = arrays_of(found), arrays_of(expected)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        np.testing.assert_array_equal(value, theirs[key], err_msg=key)
    columns = [
        [line.split(",")[:3] for line in (run / "log.csv").read_text().splitlines()]
        for run in (found, expected)
    ]
    assert columns[0] == columns[1]
    for name in ("best", "last"):
        ours, theirs = (gfkeras.load(run / name).get_weights() for run in (found, expected))
        for weights, wanted in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(weights, wanted, err_msg=name)


class Stop(keras.callbacks.Callback):
    """Ends a run after some steps, like an exception would."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt


def stopped(recipe, faces, out, steps) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, faces, out, verbose=0, callbacks=[Stop(steps)])
