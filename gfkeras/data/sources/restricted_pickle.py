"""Reader for lists of images in a pickle, which never runs code from the file.

A pickle is a program: `pickle.load` calls any function that the file names. Here, the standard
unpickler receives only the instructions that make lists, tuples, numbers, text, bytes and NumPy
arrays of numbers. The few functions that such files name are replaced by functions of this module,
and the bytes of images stay in the file.
"""

from __future__ import annotations

import codecs
import dataclasses
import io
import math
import pickle
import pickletools
import re
import struct
from typing import Any, BinaryIO

import numpy as np

from gfkeras.data.file_bytes import FileBytes

# Enough for a million images as bytes, or 150,000 as arrays. Each instruction makes at most one
# small value, so this limit also bounds time and memory.
MAX_INSTRUCTIONS = 4_000_000
CODINGS = ("raw", "utf8", "unicode", "string")
_SHORT = 64
# Booleans, integers and floats of NumPy: a letter and the bytes of an element.
_NUMBERS = frozenset(["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
_CHUNK = 1 << 16
# A bytes literal with the escapes that Python 2 writes. The possessive quantifiers (`++`, `*+`)
# keep the match linear in time.
_LITERAL = re.compile(rb"(?:[^\\]++|\\(?:x[0-9a-fA-F]{2}|[\\'\"nrt]))*+")

# Instructions for lists, tuples, numbers, text and bytes, and for calling a function by name.
_NAMES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
_ALLOWED_NAMES = re.compile(
    "PROTO|FRAME|STOP|MARK|NONE|NEWTRUE|NEWFALSE|(BIN)?INT[12]?|LONG[14]?|MEMOIZE|REDUCE|BUILD|"
    "((SHORT_)?BIN)?STRING|(SHORT_)?BINBYTES|BINBYTES8|BYTEARRAY8|((SHORT_)?BIN)?UNICODE8?|"
    "(EMPTY_)?(LIST|TUPLE)|TUPLE[123]|APPENDS?|((LONG_)?BIN)?(PUT|GET)|(STACK_)?GLOBAL"
)
_OPCODES = {
    opcode.code.encode("latin-1"): opcode
    for opcode in pickletools.opcodes
    if _ALLOWED_NAMES.fullmatch(opcode.name)
}
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: struct.Struct("<B"),
    pickletools.TAKEN_FROM_ARGUMENT4: struct.Struct("<i"),
    pickletools.TAKEN_FROM_ARGUMENT4U: struct.Struct("<I"),
    pickletools.TAKEN_FROM_ARGUMENT8U: struct.Struct("<Q"),
}
# Replacements that the unpickler receives for some instructions.
_SPAN = b"NQ"  # a persistent identifier, None: the span of bytes that was just skipped
_GLOBAL = b"\x86Q"  # a persistent identifier, (module, name), for a name given by two spans
_NOTHING = b"\x80\x02"  # a protocol number, which has no effect
_END = b"t."


class UnsafePickleError(ValueError):
    """Raised for a pickle that contains anything but lists of images and booleans."""


@dataclasses.dataclass(slots=True, eq=False)
class Span:
    """Bytes or text that stay in a file. `is_text` is True if the pickle declares them as text.

    The coding is "raw" for plain bytes. It is "utf8" or "unicode" (protocol 0's escapes) for text
    whose characters 0…255 are the bytes, and "string" for a Python 2 literal without quotes.
    """

    file: FileBytes
    offset: int
    length: int
    coding: str = "raw"
    is_text: bool = False
    _encoded: Span | None = None
    _size: int | None = None

    def read(self) -> bytes:
        """Returns the decoded bytes. Raises ValueError if they do not follow the coding."""
        stored = self.file.read(self.offset, self.length)
        if self.coding == "raw":
            return stored
        if self.coding == "string":
            if not _LITERAL.fullmatch(stored):
                raise ValueError("an unknown escape in a string")
            return codecs.escape_decode(stored)[0]
        escaped = "utf-8" if self.coding == "utf8" else "raw-unicode-escape"
        return stored.decode(escaped).encode("latin-1")

    # Both results are cached, because a few bytes of a file can ask for them again and again.

    def encoded(self) -> Span:
        """Returns the same span as bytes instead of text."""
        if self._encoded is None:
            self._encoded = dataclasses.replace(self, is_text=False)
        return self._encoded

    def size(self) -> int:
        """Returns the number of decoded bytes."""
        if self._size is None:
            self._size = self.length if self.coding == "raw" else len(self.read())
        return self._size

    def word(self) -> str:
        """Returns the span as a name or another short text."""
        if self.length > _SHORT:
            raise UnsafePickleError("a long text instead of a short name")
        return self.read().decode("ascii")


class DType:
    """A numeric type of NumPy, such as uint8 ("u1") or bool ("b1"), and its byte order."""

    def __init__(self, name: Span, align: int, copy: int):
        self.name, self.order = name.word(), "<"
        if self.name not in _NUMBERS:
            raise UnsafePickleError(f"the dtype {self.name!r}, expected u1, b1 or another number")
        _expect(align in (0, 1) and copy in (0, 1), "a dtype with unknown options")

    @property
    def size(self) -> int:
        """Bytes per element."""
        return int(self.name[1])

    def __setstate__(self, state: Any) -> None:
        # Version, byte order, sub-array, names, fields, size, alignment, flags. Only the first two
        # can differ from the defaults.
        _version, order, *rest = state
        plain = len(rest) <= 7 and all(value in (None, -1, 0) for value in rest)
        word = order.word()
        _expect(plain and word in ("|", "<", ">"), "a dtype with fields or an unknown order")
        self.order = word


class Array:
    """A one-dimensional NumPy array of numbers, which can also have the shape (N, 1) or (1, N).

    `data`, the bytes of the array, is None until the pickle gives them.
    """

    def __init__(self) -> None:
        self.dtype = self.order = ""
        self.data: Span | None = None

    def values(self) -> list[Any]:
        """Returns the elements as bool, int or float."""
        content = b"" if self.data is None else self.data.read()
        order = "" if self.order == "|" else self.order
        return np.frombuffer(content, np.dtype(f"{order}{self.dtype}")).tolist()

    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, fortran, data = state
        _expect(version == 1 and fortran in (0, 1), "an array of an unknown version")
        self.fill(data, dtype, shape)

    def fill(self, data: Any, dtype: Any, shape: Any) -> None:
        sides = shape if type(shape) is tuple and 1 <= len(shape) <= 3 else (-1,)
        # (N, 1) and (1, N) have the same bytes as (N,). Images encoded by older OpenCV have them.
        flat = all(type(side) is int and side >= 0 for side in sides) and (
            sum(side != 1 for side in sides) <= 1
        )
        known = type(dtype) is DType and _is_bytes(data) and self.data is None
        _expect(flat and known, "an array that is not one-dimensional, of numbers")
        count = math.prod(sides)
        if data.size() != count * dtype.size:
            raise UnsafePickleError(f"an array of {count} elements with {data.size()} bytes")
        self.dtype, self.order, self.data = dtype.name, dtype.order, data


def _expect(condition: bool, received: str) -> None:
    if not condition:
        raise UnsafePickleError(received)


def _is_bytes(value: Any) -> bool:
    return type(value) is Span and not value.is_text


def _reconstruct(kind: Any, shape: Any, code: Span) -> Array:
    _expect(kind is Array and shape == (0,) and code.word() == "b", "an array of another type")
    return Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Span) -> Array:
    _expect(order.word() in ("C", "F"), "an array in an unknown order")
    array = Array()
    array.fill(data, dtype, shape)
    return array


def _scalar(dtype: DType, data: Any) -> bool | int | float:
    _expect(type(dtype) is DType and _is_bytes(data) and data.length <= _SHORT, "a large scalar")
    array = Array()
    array.fill(data, dtype, (1,))
    return array.values()[0]


def _encode(text: Span, name: Span) -> Span:
    _expect(text.is_text and name.word() in ("latin1", "latin-1"), "a text in another encoding")
    return text.encoded()


_ALLOWED = {
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): DType,
    ("_codecs", "encode"): _encode,
    **{(m, name): None for m in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
}


class _Instructions:
    """The file object for the unpickler: only allowed instructions, without bytes and text."""

    def __init__(self, source: FileBytes, file: BinaryIO):
        self.source, self.file = source, file
        self.start = self.count = 0
        self.span = Span(source, 0, 0)
        # Starts a tuple, which STOP ends. It collects all values that the pickle leaves on the
        # stack, so that `read_pickle` can reject more than one.
        self.pending = b"("

    def read(self, count: int) -> bytes:
        if not self.pending:
            self.pending = self.next_instruction()
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken

    def readline(self) -> bytes:
        line, end, self.pending = self.pending.partition(b"\n")
        return line + end

    def next_instruction(self) -> bytes:
        self.start = self.file.tell()
        self.count += 1
        if self.count > MAX_INSTRUCTIONS:
            raise ValueError(f"more than {MAX_INSTRUCTIONS} instructions")
        code = self.take(1)
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise UnsafePickleError(f"the instruction {_NAMES.get(code, 'unknown')} ({code!r})")
        size = opcode.arg.n if opcode.arg else 0
        if size == pickletools.UP_TO_NEWLINE:
            return self.lines(code, opcode.name)
        if size in _LENGTHS:
            prefix = self.take(_LENGTHS[size].size)
            (length,) = _LENGTHS[size].unpack(prefix)
            if opcode.name.startswith("LONG"):
                if not 0 <= length <= 8:
                    raise ValueError(f"an integer of {length} bytes")
                return code + prefix + self.take(length)
            self.expect_left(length)
            begin = self.file.tell()
            self.file.seek(length, io.SEEK_CUR)
            return self.bytes_at(begin, length, "utf8" if "UNICODE" in opcode.name else "raw")
        argument = self.take(size)
        if opcode.name == "STOP":
            if left := self.source.size - self.file.tell():
                raise ValueError(f"{left} more bytes after the end")
            return _END
        if opcode.name == "FRAME":
            self.expect_left(int.from_bytes(argument, "little"))
            return _NOTHING
        if opcode.name == "LONG_BINPUT":
            self.expect_place(int.from_bytes(argument, "little"))
        return _GLOBAL if opcode.name == "STACK_GLOBAL" else code + argument

    def lines(self, code: bytes, name: str) -> bytes:
        """Reads the instruction `name`, whose argument is a line of text."""
        if name not in ("STRING", "UNICODE"):
            argument = self.line(_SHORT) + (self.line(_SHORT) if name == "GLOBAL" else b"")
            if name == "PUT":
                self.expect_place(int(argument))
            return code + argument
        begin = self.file.tell()
        while not self.line(_CHUNK).endswith(b"\n"):
            pass
        length = self.file.tell() - begin - 1
        if name == "UNICODE":
            return self.bytes_at(begin, length, "unicode")
        first, last = (self.source.upto(at, 1) for at in (begin, begin + length - 1))
        if length < 2 or first != last or first not in (b"'", b'"'):
            raise ValueError("a string without quotes")
        return self.bytes_at(begin + 1, length - 2, "string")

    def bytes_at(self, begin: int, length: int, coding: str) -> bytes:
        is_text = coding in ("utf8", "unicode")
        self.span = Span(self.source, begin, length, coding, is_text)
        return _SPAN

    def take(self, count: int) -> bytes:
        self.expect_left(count)
        return self.file.read(count)

    def line(self, limit: int) -> bytes:
        line = self.file.readline(limit)
        if not line or (limit == _SHORT and not line.endswith(b"\n")):
            raise ValueError("a line without an end")
        return line

    def expect_left(self, count: int) -> None:
        left = self.source.size - self.file.tell()
        if not 0 <= count <= left:
            raise ValueError(f"the end of the file after {left} of {count} bytes")

    def expect_place(self, index: int) -> None:
        # The unpickler allocates memory for every place up to this index.
        if not 0 <= index <= self.count:
            raise ValueError(f"place {index} after {self.count} instructions")


class _Unpickler(pickle.Unpickler):
    def __init__(self, instructions: _Instructions):
        super().__init__(instructions)
        self._instructions = instructions

    def persistent_load(self, pid: tuple[Span, Span] | None) -> Any:
        if pid is None:
            return self._instructions.span
        module, name = pid
        _expect(module.is_text and name.is_text, "a name that is not text")
        return self.find_class(module.word(), name.word())

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UnsafePickleError(f"the name {module}.{name}")
        return _ALLOWED[module, name] or self._bytes

    def _bytes(self, *arguments: Span) -> Span:
        if len(arguments) == 2:  # Python 2 writes bytearray(text, "latin-1").
            return _encode(*arguments)
        (value,) = arguments or (Span(self._instructions.source, 0, 0),)
        _expect(_is_bytes(value), "bytes made of something else")
        return value


def read_pickle(file: FileBytes) -> Any:
    """Returns the value in a pickle of protocol 0 to 5, without running anything in it.

    Bytes and text are returned as `Span`, NumPy arrays as `Array`, NumPy scalars as Python numbers,
    and the rest as list, tuple, int, bool and None. Memory use grows with the number of values, not
    with the number of bytes. Raises UnsafePickleError, with its place, for an instruction or name
    that is not allowed, and ValueError for a file that is truncated, damaged or too large.
    """
    with file.path.open("rb") as opened:
        instructions = _Instructions(file, opened)
        place = f"{file.path}, byte"
        try:
            values = _Unpickler(instructions).load()
        except (UnsafePickleError, TypeError, AttributeError) as error:
            raise UnsafePickleError(
                f"{place} {instructions.start}: expected a pickle of images and booleans, because "
                f"nothing else is read. Received: {error}"
            ) from None
        except (ValueError, LookupError, pickle.UnpicklingError, OverflowError, EOFError) as error:
            raise ValueError(
                f"{place} {instructions.start}: expected a whole pickle. Received: {error}"
            ) from None
    if len(values) != 1:
        raise ValueError(f"{file.path}: expected one value. Received: {len(values)}")
    return values[0]
