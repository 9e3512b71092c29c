"""Checkpoints of Partial FC: they contain the centers and their momentum, not the drawn rows."""

from __future__ import annotations

import keras
import numpy as np

from gfkeras.heads import PartialFC
from gfkeras.models import FaceClassifier
from gfkeras.training.callbacks import KeptModels, StepBackup
from gfkeras.training.optimizers import SGD
from gfkeras.training.step_checkpoints import StepCheckpoints

N, R, D, STEPS = 40, 10, 6, 4


def training() -> FaceClassifier:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(D)(inputs))
    made = FaceClassifier(model, PartialFC(N, R / N))
    made.compile(SGD(0.1, momentum=0.9))
    made.optimizer.build(made.trainable_variables)
    return made


class Batches(keras.utils.PyDataset):
    def __init__(self, first: int = 0):
        super().__init__()
        self.first = first

    def __len__(self):
        return STEPS - self.first

    def __getitem__(self, index):
        rng = np.random.default_rng(self.first + index)
        return rng.normal(size=(8, 5)).astype("float32"), rng.integers(0, N, 8).astype("int32")


def backup(folder) -> StepBackup:
    checkpoints = StepCheckpoints(folder / "checkpoints", keep=STEPS)
    return StepBackup(
        checkpoints, every_steps=1, steps_per_epoch=STEPS, batch_size=8, images=8 * STEPS,
        kept_models=KeptModels(folder, "loss", checkpoints),
    )  # fmt: skip


def test_a_checkpoint_without_empty_variables_resumes_to_the_bit(tmp_path):
    whole = training()
    whole.fit(Batches(), shuffle=False, verbose=0, callbacks=[backup(tmp_path / "whole")])
    checkpoints = StepCheckpoints(tmp_path / "whole" / "checkpoints")
    newest = checkpoints.newest()
    while newest.name != f"step-{2:09d}":
        newest.rename(newest.with_name(f"later {newest.name}"))
        newest = checkpoints.newest()
    checkpoint, _ = checkpoints.load()
    shapes = [value.shape for value in checkpoint.arrays.values()]
    assert shapes.count((N, D)) == 2, "centers and momentum"
    assert not [shape for shape in shapes if R in shape]
    again = training()
    assert backup(tmp_path / "again").restore(again, checkpoint) == 2
    again.fit(Batches(2), shuffle=False, verbose=0)
    for found, expected in zip(again.trainable_variables, whole.trainable_variables, strict=True):
        if "row_" not in found.name:
            np.testing.assert_array_equal(np.asarray(found), np.asarray(expected), found.path)
