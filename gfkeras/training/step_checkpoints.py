"""The checkpoints of a run, written whole or not at all and checked when read."""

import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfkeras.errors import reading
from gfkeras.files import parsed_json, replacing, settings_text, sha256

STATE_FILE = "state.json"
ARRAYS_FILE = "variables.npz"
_NAME = re.compile(r"step-(\d{9})")
# As `gfkeras.files.replacing` names what is not finished.
_UNFINISHED = re.compile(r"\.[0-9a-f]{8}\.(old\.)?step-\d{9}")


class DamagedCheckpoint(Exception):
    """A checkpoint that is not what was written; the message says how."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a folder holds after `step` steps over all epochs: variables by name, and JSON."""

    folder: Path
    step: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


class StepCheckpoints:
    """The newest checkpoints of a run, one folder each, named after its step.

    Each is written under another name, flushed to the disk and renamed, so that neither a
    killed process nor a full disk leaves a part of one. `state.json` holds the hash of the
    arrays and its own, and is read first: a file cut short or changed is found out.

    Args:
        folder: made with the first of them.
        keep: how many; older ones are removed once a newer one is in place.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder = folder
        self.keep = keep

    def save(self, step: int, arrays: Mapping[str, Any], state: dict[str, Any]) -> Path:
        """Adds one after `step` steps over all epochs, and removes the oldest.

        `arrays` become arrays only as they are written, such as variables do.

        Raises:
            OSError: in one line, naming what is kept, if the disk is full or cannot be written.
        """
        target = self.folder / f"step-{step:09d}"
        try:
            with replacing(target) as temporary:
                temporary.mkdir()
                with (temporary / ARRAYS_FILE).open("wb") as file:
                    np.savez(file, **arrays)
                    _flush(file)
                described = {"step": step, "sha256": sha256(temporary / ARRAYS_FILE)} | state
                described["own_sha256"] = _digest(described)
                with (temporary / STATE_FILE).open("w", encoding="utf-8") as text:
                    json.dump(described, text)
                    _flush(text)
        except OSError as error:
            raise self.explained(error, f"the checkpoint of step {step}") from error
        for old in self._found()[self.keep :]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def explained(self, error: OSError, what: str) -> OSError:
        """The error of writing `what`, with what is kept and how to go on."""
        newest = self.newest()
        kept = f"the last checkpoint, {newest}, is whole" if newest else "no checkpoint is kept yet"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return OSError(
            error.errno,
            f"{'No room for' if full else 'Cannot write'} {what} ({error.strerror}); {kept}"
            + (". Go on from it with resume (--resume)" if newest else ""),
        )

    def newest(self) -> Path | None:
        """The folder of the newest one, unread."""
        return next(iter(self._found()), None)

    def remove_unfinished(self) -> None:
        """Removes what a killed process left half-written."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if _UNFINISHED.fullmatch(path.name):
                    shutil.rmtree(path, ignore_errors=True)

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest that is whole, and a line about each newer one; (None, []) without any.

        Raises:
            ValueError: if there are some, but none is whole.
        """
        notes: list[str] = []
        for folder in self._found():
            try:
                return self._read(folder), notes
            except DamagedCheckpoint as error:
                notes.append(f"{folder} is damaged and was not used: {error}")
        if notes:
            raise ValueError(f"There is no checkpoint to resume from: {'; '.join(notes)}")
        return None, []

    @staticmethod
    def _read(folder: Path) -> Checkpoint:
        try:
            state = parsed_json(settings_text(folder / STATE_FILE))
            own = state.pop("own_sha256", None)
            # Checkpoints of earlier versions have none.
            if own is not None and own != _digest(state):
                raise DamagedCheckpoint(f"{STATE_FILE} is not what was written")
            step, digest = state.pop("step"), state.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise DamagedCheckpoint(f"{STATE_FILE}: {error}") from error
        path = folder / ARRAYS_FILE
        try:
            if sha256(path) != digest:
                raise DamagedCheckpoint(f"{ARRAYS_FILE} is not what was written, or cut short")
            with reading(path, "arrays"), np.load(path, allow_pickle=False) as stored:
                return Checkpoint(folder, step, dict(stored), state)
        except DamagedCheckpoint:
            raise
        except (OSError, ValueError) as error:
            raise DamagedCheckpoint(f"{ARRAYS_FILE}: {error}") from error

    def _found(self) -> list[Path]:
        """Newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.name, reverse=True)


def _digest(state: Mapping[str, Any]) -> str:
    """SHA-256 of what JSON keeps of a state."""
    kept = json.loads(json.dumps(state))
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _flush(file: Any) -> None:
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        # Some file systems cannot; a full disk may be found out only here.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
