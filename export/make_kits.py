"""Copying of the common part of the Python kits from the LiteRT kit into the others.

    python export/make_kits.py

A kit is a single file that users copy to a device, so the kits cannot import a common module.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = "python-litert"
KITS = ("python-onnx", "savedmodel")
MARK = "# == The common part of the Python kits. `make kits` copies it from python-litert. "


def make_kits(folder: Path) -> None:
    """Replaces the lines after the mark in each kit with those of the LiteRT kit."""
    _, mark, common = (folder / SOURCE / "face_embedding.py").read_text("utf-8").partition(MARK)
    for kit in KITS:
        path = folder / kit / "face_embedding.py"
        own, found, _ = path.read_text("utf-8").partition(MARK)
        if not mark or not found:
            raise SystemExit(f"{path} and the LiteRT kit must have the line {MARK!r}")
        path.write_text(own + mark + common, "utf-8")


if __name__ == "__main__":
    make_kits(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
