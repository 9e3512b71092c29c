"""Model cards: writing, reading, embedding, checking and extending."""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gfkeras.cards import tflite_metadata
from gfkeras.errors import require, unreadable
from gfkeras.files import json_values, parsed_json, replacing, settings_text, sha256
from gfkeras.onnx_files import load_onnx
from gfkeras.version import __version__

CARD_FORMAT = 1
# Artefacts in these precisions give the model's embeddings, so the model's results hold for them.
FLOAT_PRECISIONS = ("fp32", "fp16")

# Key of the metadata entry in TFLite and ONNX files.
NAME = "gfkeras.card"
# TensorFlow leaves this folder of a SavedModel to other tools and never changes it.
SAVEDMODEL_FILE = Path("assets.extra") / "card.json"
# Keys that `record` writes. `of` describes what was measured and identifies an entry.
_OF, _KIND, _MEASURED = "of", "kind", "measured"


def card_path(path: Path) -> Path:
    """Returns the path of an artefact's card: the artefact's path with `.json` appended."""
    return path.with_name(f"{path.name}.json")


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """Writes a card to the JSON file `path`."""
    text = json.dumps(json_values(dict(card)), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def file_facts(path: Path) -> dict[str, Any]:
    """Returns `size_bytes` and `sha256` of an artefact.

    Only the card next to the artefact can state them, because a card inside is part of the file.
    For a folder, `sha256` maps the relative name of each file to its hash.
    """
    if not path.is_dir():
        return {"size_bytes": path.stat().st_size, "sha256": sha256(path)}
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {
        "size_bytes": sum(file.stat().st_size for file in files),
        "sha256": {file.relative_to(path).as_posix(): sha256(file) for file in files},
    }


def embed_card(path: Path, card: Mapping[str, Any]) -> None:
    """Adds a card to an artefact that was just written. Its computation stays the same."""
    text = json.dumps(json_values(dict(card)), ensure_ascii=False, separators=(",", ":"))
    if path.is_dir():
        file = path / SAVEDMODEL_FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    elif path.suffix.lower() == ".tflite":
        path.write_bytes(tflite_metadata.with_metadata(path.read_bytes(), NAME, text.encode()))
    else:
        onnx: Any = require("onnx", "onnx")
        entry = onnx.StringStringEntryProto(key=NAME, value=text)
        # A parser merges protocol buffers that follow one another in a file. Appending therefore
        # adds an entry without parsing a large file.
        with path.open("ab") as stream:
            stream.write(onnx.ModelProto(metadata_props=[entry]).SerializeToString())


def embedded_card(path: Path) -> dict[str, Any] | None:
    """Reads the card inside an artefact. Returns None if it has no card.

    Raises:
        ValueError: if the artefact cannot be read or its card is damaged.
        ImportError: without the extra `export`.
    """
    text = _embedded(path)
    if text is None:
        return None
    try:
        card = parsed_json(text)
        # An embedder relies on these three keys.
        if not (isinstance(card["precision"], str) and "mode" in card and "format" in card):
            raise ValueError("precision, mode or format is not as expected")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The card inside {path} is damaged or not a card: {error!r}. Export the model again."
        ) from error
    return card


def _embedded(path: Path) -> str | bytes | None:
    if path.is_dir():
        file = path / SAVEDMODEL_FILE
        return file.read_bytes() if file.is_file() else None
    if path.suffix.lower() == ".tflite":
        try:
            return tflite_metadata.metadata(path.read_bytes(), NAME)
        except ValueError as error:
            raise unreadable(path, "a TFLite model", error) from error
    model = load_onnx(path)
    # `embed_card` appends, so the last entry is the current one.
    found = [entry.value for entry in model.metadata_props if entry.key == NAME]
    return found[-1] if found else None


def read_card(path: Path) -> dict[str, Any] | None:
    """Reads PATH.json and checks the artefact, a file or a SavedModel folder, against it.

    Without PATH.json, the function returns the card inside, which states no hash. It returns None
    if the artefact has no card at all.

    Raises:
        ValueError: if a card cannot be read, or if a file is missing or has another SHA-256.
    """
    beside = card_path(path)
    if not beside.is_file():
        return embedded_card(path)
    try:
        card = parsed_json(settings_text(beside))
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
            raise ValueError(f"{file} is missing, but {beside} lists it")
        if (found := sha256(file)) != digest:
            raise ValueError(
                f"{file} is truncated, damaged or was replaced: its SHA-256 is {found}, "
                f"{beside} states {digest}. Export the model again."
            )
    return card


def recordable_card(path: Path) -> dict[str, Any]:
    """Returns the card that `record` would extend.

    Call it before a long measurement: it fails early if the result cannot be recorded.

    Raises:
        ValueError: if the path is not an artefact with a card, or does not match its card.
    """
    artefact = path.is_file() or (path / "saved_model.pb").is_file()
    card = read_card(path) if artefact else None
    if card is None:
        raise ValueError(
            "Results are recorded in the card of an artefact, as `gfkeras export` writes it. "
            f"Received: {str(path)!r}, which {'has no card' if path.exists() else 'does not exist'}"
        )
    entries = card.get(_MEASURED, [])
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ValueError(f"{card_path(path)} is damaged: `{_MEASURED}` must be a list of objects")
    return card


def record(path: Path, kind: str, entry: Mapping[str, Any]) -> Path:
    """Adds a measurement to the list `measured` of PATH.json, and returns the path of PATH.json.

    The card inside the artefact does not change, because that would change the artefact's hash.
    If only that card exists, PATH.json is created from it.

    Args:
        path: the artefact.
        kind: "accuracy" or "latency".
        entry: values that JSON can represent. `entry["of"]` describes what was measured, for
            example protocol and list, or machine and threads. The entry replaces an earlier one
            with the same kind and `of`.

    Raises:
        ValueError: if the artefact has no valid card (see `recordable_card`), or if the entry has
            no `of` or contains values that JSON cannot represent.
    """
    if not isinstance(entry.get(_OF), Mapping) or not entry[_OF]:
        raise ValueError(
            "`entry` must describe what was measured in a dictionary entry['of']. "
            f"Received: {entry!r}"
        )
    card = recordable_card(path)
    made = {
        _KIND: kind,
        **entry,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "gfkeras": __version__,
    }
    try:
        # Entries are compared in the form in which they are read back: tuples become lists.
        made = json.loads(json.dumps(made, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`entry` must contain only values that JSON can represent. Received: {error}"
        ) from error
    kept = [
        each
        for each in card.get(_MEASURED, [])
        if (each.get(_KIND), each.get(_OF)) != (made[_KIND], made[_OF])
    ]
    facts = {} if "sha256" in card else file_facts(path)
    with replacing(card_path(path)) as temporary:
        write_card(temporary, {**card, **facts, _MEASURED: [*kept, made]})
    return card_path(path)
