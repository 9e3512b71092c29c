"""Checkpoints of a run, written completely or not at all, and checked when they are read."""

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
# Matches the temporary names of `gfkeras.files.replacing`.
_UNFINISHED = re.compile(r"\.[0-9a-f]{8}\.(old\.)?step-\d{9}")


class DamagedCheckpoint(Exception):
    """A checkpoint differs from the one that was written. The message describes the damage."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint after `step` steps: arrays by name, and a JSON state.

    Steps are counted over all epochs.
    """

    folder: Path
    step: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


class StepCheckpoints:
    """The newest checkpoints of a run, each in a folder that is named after its step.

    A checkpoint is written under a temporary name, flushed to the disk and renamed. A killed
    process or a full disk therefore cannot leave an incomplete one. `state.json` has the hashes of
    the arrays and of itself, which show that a file was truncated or changed.

    Args:
        folder: the folder of all checkpoints. The first checkpoint creates it.
        keep: number of checkpoints. Older ones are removed after a newer one is written.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder = folder
        self.keep = keep

    def save(self, step: int, arrays: Mapping[str, Any], state: dict[str, Any]) -> Path:
        """Writes the checkpoint after `step` steps over all epochs, and removes old ones.

        `arrays` can be variables, which are converted to arrays one by one as they are written.

        Raises:
            OSError: in one line, if the disk is full or cannot be written. The message names the
                last complete checkpoint.
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
        """Returns the error of writing `what`, extended by the last checkpoint and advice."""
        newest = self.newest()
        kept = f"the last checkpoint, {newest}, is complete" if newest else "there is no checkpoint"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return OSError(
            error.errno,
            f"{'No space for' if full else 'Cannot write'} {what} ({error.strerror}); {kept}"
            + (". Continue from it with resume (--resume)" if newest else ""),
        )

    def newest(self) -> Path | None:
        """Returns the folder of the newest checkpoint without reading it, or None."""
        return next(iter(self._found()), None)

    def remove_unfinished(self) -> None:
        """Removes incomplete checkpoints of a killed process."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if _UNFINISHED.fullmatch(path.name):
                    shutil.rmtree(path, ignore_errors=True)

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """Reads the newest intact checkpoint. Returns it with a note about each damaged newer one.

        Returns (None, []) if there is no checkpoint.

        Raises:
            ValueError: if there are checkpoints, but all are damaged.
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
            # Checkpoints of earlier versions do not have this hash.
            if own is not None and own != _digest(state):
                raise DamagedCheckpoint(f"{STATE_FILE} was changed: its hash is wrong")
            step, digest = state.pop("step"), state.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise DamagedCheckpoint(f"{STATE_FILE}: {error}") from error
        path = folder / ARRAYS_FILE
        try:
            if sha256(path) != digest:
                raise DamagedCheckpoint(f"{ARRAYS_FILE} is changed or cut short: its hash is wrong")
            # Without pickle, loading a checkpoint cannot run code.
            with reading(path, "arrays"), np.load(path, allow_pickle=False) as stored:
                return Checkpoint(folder, step, dict(stored), state)
        except DamagedCheckpoint:
            raise
        except (OSError, ValueError) as error:
            raise DamagedCheckpoint(f"{ARRAYS_FILE}: {error}") from error

    def _found(self) -> list[Path]:
        """Returns the folders of all checkpoints, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.name, reverse=True)


def _digest(state: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a state in its JSON form."""
    # The hash must be the same for the state in memory and for the one that is read back, in which
    # tuples are lists and all keys are strings.
    kept = json.loads(json.dumps(state))
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _flush(file: Any) -> None:
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        # Some file systems do not support this. Other errors are raised, because a full disk can
        # first be noticed here.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
