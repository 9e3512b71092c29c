"""The card of an artefact, whether the artefact is what it says, and what was measured since."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gfkeras.cards import card_path, card_text, embedded_card, file_facts
from gfkeras.files import replacing, sha256
from gfkeras.version import __version__

# Of what `record` writes: what an entry is of, and the rest.
_OF, _KIND, _MEASURED = "of", "kind", "measured"


def read_card(path: Path) -> dict[str, Any] | None:
    """Reads PATH.json and checks the artefact against it; without one, the card inside.

    Args:
        path: the artefact, a file or a SavedModel folder.

    Returns:
        The card, or None where there is none. The one inside states no hash, so nothing is
        checked by it.

    Raises:
        ValueError: if a card cannot be read, or a file is missing or does not have the SHA-256
            that PATH.json states.
    """
    beside = card_path(path)
    if not beside.is_file():
        return embedded_card(path)
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
        hashes = card["sha256"]
        expected = hashes.items() if isinstance(hashes, dict) else [("", str(hashes))]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{beside} is damaged or not a card: {error!r}") from error
    for name, digest in expected:
        # A card must not lead out of the folder that it describes.
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{beside} names a file outside of {path}: {name!r}")
        file = path / name if name else path
        if not file.is_file():
            raise ValueError(f"{file} is missing, {beside} lists it")
        if (found := sha256(file)) != digest:
            raise ValueError(
                f"{file} is truncated, damaged or was replaced: its SHA-256 is {found}, "
                f"{beside} states {digest}. Export it again."
            )
    return card


def recordable_card(path: Path) -> dict[str, Any]:
    """The card that `record` would add to; asked before a measurement, not after it.

    Raises:
        ValueError: for what is no artefact with a card, or does not match it.
    """
    artefact = path.is_file() or (path / "saved_model.pb").is_file()
    card = read_card(path) if artefact else None
    if card is None:
        raise ValueError(
            "Results are recorded in the card of an artefact, as `gfkeras export` writes it. "
            f"Received: {str(path)!r}, which has none"
        )
    entries = card.get(_MEASURED, [])
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ValueError(f"{card_path(path)} is damaged: `{_MEASURED}` must be a list of objects")
    return card


def record(path: Path, kind: str, entry: Mapping[str, Any]) -> Path:
    """Adds a measurement to the list `measured` of PATH.json.

    The card inside the artefact stays as it is: with it, the artefact's hash would change. Where
    there is only that one, PATH.json is made from it.

    Args:
        path: the artefact.
        kind: "accuracy" or "latency".
        entry: figures in what JSON has. `entry["of"]` says what was measured, such as protocol and
            list, or machine and threads: an earlier entry of the same kind and the same `of` is
            replaced.

    Returns:
        PATH.json, written whole or not at all.

    Raises:
        ValueError: for what is no artefact with a card, or does not match it; for an entry without
            `of`, or with what JSON does not have.
    """
    if not isinstance(entry.get(_OF), Mapping) or not entry[_OF]:
        raise ValueError(
            f"`entry` must say what was measured, as entry['of'] = {{…}}. Received: {entry!r}"
        )
    card = recordable_card(path)
    made = {
        _KIND: kind,
        **entry,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "gfkeras": __version__,
    }
    try:
        # As it will be read: tuples as lists, for one.
        made = json.loads(json.dumps(made, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`entry` must hold what JSON has. Received: {error}") from error
    kept = [
        each
        for each in card.get(_MEASURED, [])
        if (each.get(_KIND), each.get(_OF)) != (made[_KIND], made[_OF])
    ]
    facts = {} if "sha256" in card else file_facts(path)
    with replacing(card_path(path)) as temporary:
        text = card_text({**card, **facts, _MEASURED: [*kept, made]})
        temporary.write_text(text, encoding="utf-8")
    return card_path(path)
