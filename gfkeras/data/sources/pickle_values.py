"""What a pickle of images is made of, and the few calls that may stand in one.

A pickle makes bytes of protocol 0 to 2, byte arrays and NumPy's arrays by calling functions. They
are recognised here by name and by exactly the arguments that pickle gives them, and the value is
built without the function: nothing a file names is imported.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

CODINGS = ("raw", "utf8", "unicode", "string")
_SHORT = 64


# What Python 2 writes in a literal of bytes; anything else after a backslash is damage.
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.?)", re.DOTALL)
_ESCAPES = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if len(code) == 3:
        return bytes.fromhex(code[1:].decode())
    if code not in _ESCAPES:
        raise UnicodeError(f"the escape {match[0]!r} in a string")
    return _ESCAPES[code]


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Bytes or text left where they lie in the file.

    Attributes:
        offset, length: where.
        coding: how they stand there: "raw"; "utf8" or "unicode" (protocol 0's escapes) for text
            whose characters 0…255 are the bytes; "string" for a Python 2 literal, unquoted.
        text: whether the pickle calls them text.
    """

    offset: int
    length: int
    coding: str = "raw"
    text: bool = False

    def decode(self, stored: bytes) -> bytes:
        """The bytes meant by those in the file.

        Raises:
            ValueError: where they are not written as `coding` says.
        """
        if self.coding == "raw":
            return stored
        if self.coding == "string":
            return _ESCAPE.sub(_unescaped, stored)
        escaped = "utf-8" if self.coding == "utf8" else "raw-unicode-escape"
        return stored.decode(escaped).encode("latin-1")


@dataclasses.dataclass(frozen=True, slots=True)
class Global:
    """A name the pickle may use: a label, never the thing itself."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class DType:
    """NumPy's uint8 ("u1") or bool ("b1")."""

    name: str


@dataclasses.dataclass(slots=True, eq=False)
class Array:
    """A one-dimensional NumPy array; `data` is None until the pickle gives it."""

    dtype: str = ""
    data: Span | None = None


class NotAllowed(Exception):
    """A call, a name or a state other than those of an image; the message says which."""


Read = Callable[[Span], bytes]

_GLOBALS = {
    **{
        (f"numpy.{core}.multiarray", name): name
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): "_frombuffer" for core in ("core", "_core")},
    **{("numpy", name): name for name in ("ndarray", "dtype")},
    ("_codecs", "encode"): "encode",
    **{(m, name): name for m in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
}


def known_global(module: str, name: str) -> Global:
    """The label of a name that may be used; raises `NotAllowed` for any other."""
    if (module, name) not in _GLOBALS:
        raise NotAllowed(f"the name {module}.{name}")
    return Global(_GLOBALS[module, name])


def short_text(value: Any, read: Read) -> str:
    """A name or another short word, given as text or bytes."""
    if type(value) is not Span or value.length > _SHORT:
        raise NotAllowed(f"{kind(value)} where a short name belongs")
    try:
        return value.decode(read(value)).decode("ascii")
    except UnicodeError:
        raise NotAllowed("a name that is not ASCII") from None


def call(function: Any, arguments: Any, read: Read) -> Any:
    """What a call that may stand in a pickle of images gives."""
    if type(function) is not Global or type(arguments) is not tuple:
        raise NotAllowed(f"a call of {kind(function)} with {kind(arguments)}")
    made = _CALLS[function.name](arguments, read) if function.name in _CALLS else None
    if made is None:
        given = ", ".join(map(kind, arguments[:8]))
        raise NotAllowed(f"a call of {function.name} with ({given})")
    return made


def set_state(target: Any, state: Any, read: Read) -> None:
    """What the instruction BUILD does to a dtype or a new array."""
    if type(target) is DType and type(state) is tuple and 6 <= len(state) <= 9:
        version, order, *rest = state
        # Version, byte order, no sub-array, no names, no fields, size, alignment, flags.
        plain = all(value is None or _is_int(value, -1, 0) for value in rest)
        if _is_int(version, 1, 4) and plain and short_text(order, read) == "|":
            return
    if type(target) is Array and target.data is None and type(state) is tuple and len(state) == 5:
        version, shape, dtype, fortran, data = state
        if _is_int(version, 1, 1) and _is_int(fortran, 0, 1):
            _fill(target, data, dtype, shape, read)
            return
    raise NotAllowed(f"a state of {kind(state)} for {kind(target)}")


def kind(value: Any) -> str:
    """What a value is, for messages; never its contents, which may be anything."""
    if type(value) is Global:
        return f"the name {value.name}"
    if type(value) is Span:
        return "text" if value.text else "bytes"
    return {Array: "an array", DType: "a dtype"}.get(type(value), type(value).__name__)


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) in (int, bool) and low <= value <= high


def _is_bytes(value: Any) -> bool:
    return type(value) is Span and not value.text


def _decoded(data: Span, read: Read) -> bytes:
    try:
        return data.decode(read(data))
    except UnicodeError:
        raise NotAllowed("text that does not stand for bytes") from None


def _fill(array: Array, data: Any, dtype: Any, shape: Any, read: Read) -> None:
    one_dimensional = (
        type(shape) is tuple and len(shape) == 1 and type(shape[0]) is int and shape[0] >= 0
    )
    if not (one_dimensional and type(dtype) is DType and _is_bytes(data)):
        raise NotAllowed("an array that is not one-dimensional, of uint8 or bool")
    # Encoded data can be shorter than it lies in the file, raw data cannot.
    length = data.length if data.coding == "raw" else len(_decoded(data, read))
    if length != shape[0]:
        raise NotAllowed(f"an array of {shape[0]} elements with {length} bytes of data")
    array.dtype, array.data = dtype.name, data


def _call_reconstruct(arguments: tuple[Any, ...], read: Read) -> Array | None:
    match arguments:
        case (Global("ndarray"), (0,), Span() as code) if short_text(code, read) == "b":
            return Array()
    return None


def _call_frombuffer(arguments: tuple[Any, ...], read: Read) -> Array | None:
    match arguments:
        case (data, dtype, shape, Span() as order) if short_text(order, read) in ("C", "F"):
            array = Array()
            _fill(array, data, dtype, shape, read)
            return array
    return None


def _call_dtype(arguments: tuple[Any, ...], read: Read) -> DType | None:
    match arguments:
        case (Span() as name, align, copy) if _is_int(align, 0, 1) and _is_int(copy, 0, 1):
            text = short_text(name, read)
            if text not in ("u1", "b1"):
                raise NotAllowed(f"the dtype {text!r}, expected u1 or b1")
            return DType(text)
    return None


def _call_scalar(arguments: tuple[Any, ...], read: Read) -> bool | int | None:
    match arguments:
        case (DType(name), Span(text=False) as data) if data.length <= _SHORT:
            value = data.decode(read(data))
            if len(value) == 1:
                return value != b"\0" if name == "b1" else value[0]
    return None


def _call_encode(arguments: tuple[Any, ...], read: Read) -> Span | None:
    match arguments:
        case (Span(text=True) as text, Span() as name) if short_text(name, read) in _LATIN:
            return dataclasses.replace(text, text=False)
    return None


def _call_bytes(arguments: tuple[Any, ...], read: Read) -> Span | None:
    match arguments:
        case ():
            return Span(0, 0)
        case (Span(text=False) as data,):
            return data
    # Python 2 wrote bytearray(text, "latin-1").
    return _call_encode(arguments, read)


_LATIN = ("latin1", "latin-1")
_CALLS: dict[str, Callable[[tuple[Any, ...], Read], Any]] = {
    "_reconstruct": _call_reconstruct,
    "_frombuffer": _call_frombuffer,
    "dtype": _call_dtype,
    "scalar": _call_scalar,
    "encode": _call_encode,
    "bytes": _call_bytes,
    "bytearray": _call_bytes,
}
