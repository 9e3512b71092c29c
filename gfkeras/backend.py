"""Keras and its backend, imported quietly."""

from __future__ import annotations

import os
import sys
import tempfile


def load_keras() -> None:
    """Imports Keras and its backend, keeping what they log meanwhile off stderr.

    TensorFlow's libraries log while they are loaded, before any setting of theirs is read;
    an error is to be one line. Where the import fails, what was held back is shown.
    """
    if "keras" in sys.modules:
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import keras

            if keras.backend.backend() == "tensorflow":
                import tensorflow

                # The search for a GPU logs an error where there is none.
                tensorflow.config.list_physical_devices()
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
