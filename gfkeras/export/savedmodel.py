"""Writing a SavedModel."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_savedmodel(tf: Any, form: Any, path: Path) -> None:
    """Writes the folder, with the signature `serving_default`."""
    tf.saved_model.save(form, str(path), signatures={"serving_default": form.serve})
