"""Cards of artefacts: writing, reading, embedding, checking and extending."""

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
# These embed as the model does, so what was measured on it holds for them.
FLOAT_PRECISIONS = ("fp32", "fp16")

# Of the metadata entry in TFLite and ONNX.
NAME = "gfkeras.card"
# TensorFlow keeps out of this folder of a SavedModel, and leaves it where it is.
SAVEDMODEL_FILE = Path("assets.extra") / "card.json"
# Of what `record` writes: what an entry is of, and the rest.
_OF, _KIND, _MEASURED = "of", "kind", "measured"


def card_path(path: Path) -> Path:
    """Where the card of an artefact lies: beside it, with `.json` appended."""
    return path.with_name(f"{path.name}.json")


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """Writes a card as a file of JSON, at the name that `card_path` gives or a temporary one."""
    text = json.dumps(json_values(dict(card)), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def file_facts(path: Path) -> dict[str, Any]:
    """Facts that only the card beside an artefact can state: `size_bytes` and `sha256`.

    A folder has one `sha256` for each of its files, by name.
    """
    if not path.is_dir():
        return {"size_bytes": path.stat().st_size, "sha256": sha256(path)}
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {
        "size_bytes": sum(file.stat().st_size for file in files),
        "sha256": {file.relative_to(path).as_posix(): sha256(file) for file in files},
    }


def embed_card(path: Path, card: Mapping[str, Any]) -> None:
    """Puts a card into an artefact that was just written; what it computes stays the same."""
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
        # Protocol buffers that follow one another are read as one.
        with path.open("ab") as stream:
            stream.write(onnx.ModelProto(metadata_props=[entry]).SerializeToString())


def embedded_card(path: Path) -> dict[str, Any] | None:
    """The card inside an artefact; None where there is none.

    Raises:
        ValueError: for an artefact that cannot be read, or whose card is damaged.
        ImportError: without the extra `export`.
    """
    text = _embedded(path)
    if text is None:
        return None
    try:
        card = parsed_json(text)
        # What an embedder relies on.
        if not (isinstance(card["precision"], str) and "mode" in card and "format" in card):
            raise ValueError("precision, mode or format is not as expected")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The card inside {path} is damaged or not one: {error!r}. Export it again."
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
    # The last, for what is put in is put behind.
    found = [entry.value for entry in model.metadata_props if entry.key == NAME]
    return found[-1] if found else None


def read_card(path: Path) -> dict[str, Any] | None:
    """Reads PATH.json and checks the artefact, a file or a SavedModel folder, against it.

    Without PATH.json, the card inside is returned, which states no hash; without either, None.

    Raises:
        ValueError: if a card cannot be read, or a file is missing or has another SHA-256.
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
            raise ValueError(f"{file} is missing, {beside} lists it")
        if (found := sha256(file)) != digest:
            raise ValueError(
                f"{file} is truncated, damaged or was replaced: its SHA-256 is {found}, "
                f"{beside} states {digest}. Export it again."
            )
    return card


def recordable_card(path: Path) -> dict[str, Any]:
    """The card that `record` would add to; ask for it before a measurement, not after.

    Raises:
        ValueError: for a path that is no artefact with a card, or does not match it.
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
    """Adds a measurement to the list `measured` of PATH.json, and returns PATH.json.

    The card inside the artefact stays as it is: to change it would change the artefact's hash.
    Where there is only that one, PATH.json is made from it.

    Args:
        path: the artefact.
        kind: "accuracy" or "latency".
        entry: values that JSON has. `entry["of"]` says what was measured, such as protocol and
            list, or machine and threads; an earlier entry of the same kind and `of` is replaced.

    Raises:
        ValueError: as `recordable_card`; for an entry without `of`, or with values that JSON lacks.
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
        write_card(temporary, {**card, **facts, _MEASURED: [*kept, made]})
    return card_path(path)
