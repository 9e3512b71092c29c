"""A progress bar of quantisation-aware fine-tuning."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gfkeras.cli._progress import stages

if TYPE_CHECKING:
    from gfkeras.export import Int8Settings


@contextlib.contextmanager
def fine_tuning(settings: Int8Settings) -> Iterator[Int8Settings]:
    """The settings of an export with a bar for the batches of its fine-tuning, if there is one."""
    if settings.qat is None:
        yield settings
        return
    import keras

    epochs = settings.qat.epochs
    # An export holds back what converters write to stderr; the bar goes past it.
    with os.fdopen(os.dup(2), "w") as stderr, stages(False, stderr) as move:

        class Moving(keras.callbacks.Callback):
            def __init__(self) -> None:
                super().__init__()
                self.done = 0

            def on_train_batch_end(self, batch: int, logs: object = None) -> None:
                self.done += 1
                assert move is not None
                # How many there are in all is known after an epoch.
                total = self.params["steps"]
                move("fine-tune", self.done, total and epochs * total)

        qat = dataclasses.replace(settings.qat, callbacks=(*settings.qat.callbacks, Moving()))
        yield dataclasses.replace(settings, qat=qat)
