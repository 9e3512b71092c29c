"""The card beside an artefact, and whether the artefact is what the card says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gfkeras.files import sha256


def read_card(path: Path) -> dict[str, Any] | None:
    """Reads PATH.json and checks the artefact against it.

    Args:
        path: the artefact, a file or a SavedModel folder.

    Returns:
        The card, or None where there is none.

    Raises:
        ValueError: if the card cannot be read, or a file is missing or does not have
            the SHA-256 it states.
    """
    card_path = path.with_name(f"{path.name}.json")
    if not card_path.is_file():
        return None
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        hashes = card["sha256"]
        expected = hashes.items() if isinstance(hashes, dict) else [("", str(hashes))]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{card_path} is damaged or not a card: {error!r}") from error
    for name, digest in expected:
        # A card must not lead out of the folder that it describes.
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{card_path} names a file outside of {path}: {name!r}")
        file = path / name if name else path
        if not file.is_file():
            raise ValueError(f"{file} is missing, {card_path} lists it")
        if (found := sha256(file)) != digest:
            raise ValueError(
                f"{file} is truncated, damaged or was replaced: its SHA-256 is {found}, "
                f"{card_path} states {digest}. Export it again."
            )
    return card
