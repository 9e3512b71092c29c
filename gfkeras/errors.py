"""Errors and checks of arguments, with messages that say what was expected and received."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


def wrong(argument: str, expected: str, received: object) -> ValueError:
    """Returns the error of an argument that must `expected`, such as "be positive".

    The option of the command can follow the argument: "out (--out)".
    """
    name, *option = argument.split(" ")
    return ValueError(f"{' '.join([f'`{name}`', *option])} must {expected}. Received: {received}")


def wrong_value(argument: str, expected: str, value: object) -> ValueError:
    """Returns the error of `wrong` that shows the argument and its value."""
    return wrong(argument, expected, f"{argument}={value!r}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that is most similar to `name`, or None if none is similar.

    Ignores case: `arcface` finds `ArcFace`.
    """
    by_lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Returns a ValueError for an unknown name, with a similar one. `kind` is such as "head"."""
    known = sorted(known)
    guess = nearest(name, known)
    hint = f"; did you mean {guess!r}?" if guess else "."
    return ValueError(f"Unknown {kind} {name!r}{hint} Known: {', '.join(known)}.")


def by_name(kind: str, name: str, known: Mapping[str, T]) -> T:
    """Returns the value of `name` in `known`. Raises ValueError with a similar name otherwise."""
    if name not in known:
        raise unknown_name(kind, name, known)
    return known[name]


def one_of(argument: str, value: Any, choices: Iterable[str]) -> str:
    """Returns `value` if it is one of `choices`. Raises ValueError otherwise."""
    choices = list(choices)
    if value not in choices:
        guess = nearest(str(value), choices)
        hint = f" (did you mean {guess!r}?)" if guess else ""
        raise ValueError(
            f"`{argument}` must be one of {', '.join(map(repr, choices))}{hint}. "
            f"Received: {argument}={value!r}"
        )
    return value


def positive_int(argument: str, value: Any) -> int:
    """Returns `value` as an int if it is at least 1. Raises ValueError otherwise."""
    # True is an int in Python, but not a sensible number.
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise ValueError(
            f"`{argument}` must be an integer of at least 1. Received: {argument}={value!r}"
        )
    return value.__index__()


def in_range(argument: str, value: Any, low: float, high: float, unit: str = "") -> float:
    """Returns `value` as a float if it is in [low, high). Raises ValueError otherwise.

    An infinite `high` allows any finite number. `unit` is appended in the message, such as
    " radians".
    """
    if not _is_number(value) or not low <= value < high:
        end = "π" if high == math.pi else f"{high:g}"
        expected = f"in [{low:g}, {end})" if high < math.inf else f"finite and at least {low:g}"
        raise ValueError(f"`{argument}` must be {expected}{unit}. Received: {argument}={value!r}")
    return float(value)


def positive(argument: str, value: Any) -> float:
    """Returns `value` as a float if it is positive and finite. Raises ValueError otherwise."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"`{argument}` must be positive. Received: {argument}={value!r}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def unreadable(path: Path, what: str, error: BaseException | str) -> ValueError:
    """Returns the error for a file that is damaged or of another kind than `what`."""
    lines = str(error).strip().splitlines()
    reason = lines[0][:300] if lines else type(error).__name__
    if isinstance(error, (ArithmeticError, AttributeError, LookupError, TypeError)):
        # The text of these errors can be only a key, so the name of the error is added.
        reason = f"{type(error).__name__}: {reason}"
    return ValueError(
        f"{path} cannot be read as {what}. It is damaged or another kind of file: {reason}"
    )


@contextlib.contextmanager
def reading(path: Path, what: str, anything: bool = False) -> Iterator[None]:
    """Turns the errors of a damaged file in the block into a ValueError that names the file.

    Python, NumPy, zlib, HDF5 and pickle all raise different errors for damaged files. The OSError
    of a missing or forbidden file and the ImportError of a missing package are kept.

    Args:
        path: the file or folder.
        what: the expected kind of file, with its article.
        anything: also convert all other exceptions, for runtimes with their own exception classes.

    Example:
        with reading(path, "an .npz of embeddings"), zipfile.ZipFile(path) as archive:
            ...
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, DownloadError) as error:
        if not anything or isinstance(error, DownloadError) or not path.exists():
            raise
        # The path exists, so it is a folder with a missing file.
        raise unreadable(path, what, error) from error
    except ValueError as error:
        # The message names the file already.
        if str(path) in str(error):
            raise
        raise unreadable(path, what, error) from error
    except ImportError:
        raise
    except Exception as error:
        if not anything and not isinstance(error, _damage()):
            raise
        raise unreadable(path, what, error) from error


@functools.cache
def _damage() -> tuple[type[Exception], ...]:
    """Returns the exceptions that readers raise for damaged content, besides ValueError."""
    import lzma
    import pickle
    import struct
    import tokenize
    import zipfile
    import zlib

    return (
        ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError,
        OSError, RuntimeError, SyntaxError, TypeError, lzma.LZMAError, pickle.UnpicklingError,
        struct.error, tokenize.TokenError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error,
    )  # fmt: skip


class DownloadError(OSError):
    """A download that failed. There is no file.

    Attributes:
        url: the URL, with `GFKERAS_MIRROR` applied.
        reason: the reason of the failure.
    """

    def __init__(self, url: str, reason: str):
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason

    def __reduce__(self) -> tuple[type[DownloadError], tuple[str, str]]:
        return type(self), (self.url, self.reason)


class ImageError(ValueError):
    """An image that cannot be read. The message names the file and the reason.

    Attributes:
        path: the file, or "<bytes>".
        reason: the reason as text.
        kind: the reason in one word, for counting: "missing", "empty", "not-an-image",
            "truncated", "too-large" or "unreadable".
    """

    def __init__(self, path: str, reason: str, kind: str = "unreadable"):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.kind = kind

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str, str]]:
        return type(self), (self.path, self.reason, self.kind)


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional package. Raises an ImportError with the command to install its extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This needs the package {module.partition('.')[0]!r} ({error}). "
            f"Install it with: pip install 'gfkeras[{extra}]'"
        ) from error
