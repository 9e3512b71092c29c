"""Converters that keep their chatter to themselves."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back what Python and native code write to stderr, unless the block fails.

    Then the last lines are added to the error as a note. It works on the process's
    file descriptor, for MLIR and absl know nothing of sys.stderr; other threads'
    messages are held back as well while it lasts.
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    with tempfile.TemporaryFile() as captured, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception as error:
            captured.seek(0)
            lines = captured.read().decode("utf-8", "replace").splitlines()
            if lines:
                error.add_note("\n".join(line[:500] for line in lines[-15:]))
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
