"""Importing Keras without the chatter of its backend."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile


def load_keras() -> None:
    """Imports Keras and its backend, keeping what they log meanwhile off stderr.

    TensorFlow's libraries log while they are loaded, before any setting of theirs is read;
    an error is to be one line. Where the import fails, what was held back is shown.
    """
    # Keras loads its backend with the first room that builds on it.
    room = "gfkeras.models"
    if room in sys.modules:
        return
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        # No stderr at all: nothing to keep clean.
        importlib.import_module(room)
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            importlib.import_module(room)
            if (tensorflow := sys.modules.get("tensorflow")) is not None:
                # The search for a GPU logs an error where there is none.
                tensorflow.config.list_physical_devices()
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
