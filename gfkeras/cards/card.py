"""What all that write or read cards have to agree on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gfkeras.files import sha256

CARD_FORMAT = 1
# These embed as the model does, so what was measured on it holds for them.
FLOAT_PRECISIONS = ("fp32", "fp16")


def card_path(path: Path) -> Path:
    """Where the card of an artefact lies: beside it, with `.json` appended."""
    return path.with_name(f"{path.name}.json")


def card_text(card: Mapping[str, Any]) -> str:
    """A card as it is written beside an artefact."""
    return json.dumps(card, indent=1, ensure_ascii=False) + "\n"


def file_facts(path: Path) -> dict[str, Any]:
    """What only the card beside an artefact can say of it: `size_bytes` and `sha256`.

    Args:
        path: a file; or a folder, of which `sha256` holds that of each file by its name.
    """
    if not path.is_dir():
        return {"size_bytes": path.stat().st_size, "sha256": sha256(path)}
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {
        "size_bytes": sum(file.stat().st_size for file in files),
        "sha256": {file.relative_to(path).as_posix(): sha256(file) for file in files},
    }
