"""Reading lists of images out of a pickle without running any of it.

A pickle is a program: `pickle.load` calls whatever functions the file names. This machine knows
the instructions that make lists, tuples, numbers, text, bytes and NumPy's uint8 and boolean
arrays, and refuses all others.
"""

from __future__ import annotations

import dataclasses
import pickletools
import struct
from collections.abc import Callable
from typing import Any

from gfkeras.data.sources import pickle_values
from gfkeras.data.sources.file_bytes import FileBytes
from gfkeras.data.sources.pickle_values import NotAllowed, Span

# Enough for a million images as bytes, or 150,000 as arrays. Each makes at most one small value,
# so that this bounds time and memory, whatever the file says.
MAX_INSTRUCTIONS = 4_000_000
_CHUNK = 4096
_U1, _U2, _U4, _U8 = (struct.Struct(code) for code in ("<B", "<H", "<I", "<Q"))
_I4 = struct.Struct("<i")


class UnsafePickleError(ValueError):
    """A pickle that asks for something other than lists of images and booleans."""


def read_pickle(file: FileBytes) -> Any:
    """What a pickle of protocol 0 to 5 holds; nothing in it is run.

    Bytes and text come as `Span`: they are left in the file. NumPy's arrays come as `Array`, its
    scalars as bool and int, and the rest as list, tuple, int, bool and None. Memory grows with
    the number of values, not with the size of the bytes, and a length is believed only where the
    file is that long.

    Raises:
        UnsafePickleError: naming the instruction or name that is not one of the few, and its
            place in the file.
        ValueError: for a file that is cut short, damaged or too large.
    """
    return _Machine(file).run()


class _Machine:
    """Pickle's stack, marks and memo."""

    def __init__(self, file: FileBytes) -> None:
        self.file = file
        self.position = self.start = self.looked_at = 0
        self.window, self.window_start = b"", 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_INSTRUCTIONS):
            self.start = self.position
            code = self.take(1)
            if code == b".":
                return self.stop()
            instruction = _INSTRUCTIONS.get(code)
            try:
                if instruction is None:
                    name = _NAMES.get(code, "unknown")
                    raise NotAllowed(f"the instruction {name} ({code!r})")
                instruction(self)
            except NotAllowed as error:
                raise UnsafePickleError(
                    f"{self.file.path}, byte {self.start}: expected a pickle of images and "
                    f"booleans, and nothing else is read. Received: {error}"
                ) from None
        raise self.damaged(f"at most {MAX_INSTRUCTIONS} instructions", "more")

    def stop(self) -> Any:
        if len(self.stack) != 1 or self.marks:
            raise self.damaged("one value at the end", f"{len(self.stack)} values")
        if self.position != self.file.size:
            left = self.file.size - self.position
            raise self.damaged("the end of the file after the pickle", f"{left} further bytes")
        return self.stack.pop()

    def damaged(self, expected: str, received: object) -> ValueError:
        return ValueError(
            f"{self.file.path}, byte {self.start}: expected {expected}. Received: {received}"
        )

    def take(self, count: int) -> bytes:
        """The next few bytes."""
        begin = self.position - self.window_start
        if not 0 <= begin <= len(self.window) - count:
            self.window = self.file.upto(self.position, _CHUNK)
            self.window_start, begin = self.position, 0
            if len(self.window) < count:
                raise self.damaged(f"{count} bytes", "the end of the file")
        self.position += count
        return self.window[begin : begin + count]

    def number(self, layout: struct.Struct) -> int:
        return layout.unpack(self.take(layout.size))[0]

    def span(self, length: int, coding: str = "raw", text: bool = False) -> Span:
        """The next bytes, passed over."""
        left = self.file.size - self.position
        if not 0 <= length <= left:
            raise self.damaged(f"{length} bytes", f"the end of the file after {left}")
        self.position += length
        return Span(self.position - length, length, coding, text)

    def line(self, coding: str = "raw", text: bool = True) -> Span:
        """The bytes up to a line's end, passed over with it."""
        at = self.position
        while chunk := self.file.upto(at, _CHUNK):
            end = chunk.find(b"\n")
            if end >= 0:
                span = self.span(at + end - self.position, coding, text)
                self.position += 1
                return span
            at += len(chunk)
        raise self.damaged("the end of a line", "the end of the file")

    def read(self, span: Span) -> bytes:
        # Each image is looked at once at most; going back to a large one again and again would
        # take for ever without growing the file.
        self.looked_at += span.length
        if self.looked_at > 2 * self.file.size + (1 << 20):
            raise self.damaged("each image once", "one that is used over and over")
        return self.file.read(span.offset, span.length)

    def short(self, value: Any) -> str:
        return pickle_values.short_text(value, self.read)

    # The stack and the memo.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.damaged("a value on the stack", "none")
        return self.stack.pop()

    def pop_marked(self) -> list[Any]:
        if not self.marks:
            raise self.damaged("a mark on the stack", "none")
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def tuple_of(self, size: int) -> None:
        values = [self.pop() for _ in range(size)]
        self.push(tuple(values[::-1]))

    def append(self, values: list[Any]) -> None:
        target = self.pop()
        if type(target) is not list:
            raise NotAllowed(f"an append to {pickle_values.kind(target)}")
        target.extend(values)
        self.push(target)

    def put(self, index: int) -> None:
        value = self.pop()
        self.memo[index] = value
        self.push(value)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise self.damaged("a value in the memo", f"none under {index}")
        self.push(self.memo[index])

    # Numbers and text.

    def protocol(self) -> None:
        version = self.number(_U1)
        if version > 5 or self.start != 0:
            raise self.damaged("a pickle of protocol 0 to 5, said once", f"protocol {version}")

    def frame(self) -> None:
        length, left = self.number(_U8), self.file.size - self.position
        if length > left:
            raise self.damaged(f"a frame of {length} bytes", f"the end of the file after {left}")

    def integer_line(self) -> int:
        word = self.short(self.line())
        digits = word.removesuffix("L")
        if not digits.removeprefix("-").isdigit() or len(digits) > 20:
            raise self.damaged("an integer of 64 bits", repr(word))
        return int(digits)

    def integer_or_boolean(self) -> None:
        place = self.position
        value = self.integer_line()
        # Protocol 0 and 1 write True and False as 01 and 00.
        boolean = self.position - place == 3 and self.file.read(place, 1) == b"0"
        self.push(bool(value) if boolean and value in (0, 1) else value)

    def long(self, size: int) -> None:
        if not 0 <= size <= 8:
            raise self.damaged("an integer of up to 8 bytes", f"one of {size}")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def string_line(self) -> None:
        line = self.line("string", text=False)
        first = self.file.read(line.offset, min(1, line.length))
        last = self.file.read(line.offset + line.length - 1, 1) if line.length > 1 else b""
        if first not in (b"'", b'"') or first != last:
            raise self.damaged("a quoted string", "one without quotes")
        self.push(dataclasses.replace(line, offset=line.offset + 1, length=line.length - 2))

    # Names and calls.

    def global_line(self) -> None:
        module = self.short(self.line())
        self.push(pickle_values.known_global(module, self.short(self.line())))

    def global_stack(self) -> None:
        name, module = self.pop(), self.pop()
        for part in (module, name):
            if type(part) is not Span or not part.text:
                raise NotAllowed(f"a name made of {pickle_values.kind(part)}")
        self.push(pickle_values.known_global(self.short(module), self.short(name)))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(pickle_values.call(function, arguments, self.read))

    def build(self) -> None:
        state, target = self.pop(), self.pop()
        pickle_values.set_state(target, state, self.read)
        self.push(target)


_NAMES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}


def _bytes(layout: struct.Struct) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.span(m.number(layout)))


def _text(layout: struct.Struct) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.span(m.number(layout), "utf8", text=True))


_BY_NAME: dict[str, Callable[[_Machine], None]] = {
    "PROTO": _Machine.protocol,
    "FRAME": _Machine.frame,
    "NONE": lambda m: m.push(None),
    "NEWTRUE": lambda m: m.push(True),
    "NEWFALSE": lambda m: m.push(False),
    "INT": _Machine.integer_or_boolean,
    "LONG": lambda m: m.push(m.integer_line()),
    "BININT": lambda m: m.push(m.number(_I4)),
    "BININT1": lambda m: m.push(m.number(_U1)),
    "BININT2": lambda m: m.push(m.number(_U2)),
    "LONG1": lambda m: m.long(m.number(_U1)),
    "LONG4": lambda m: m.long(m.number(_I4)),
    "STRING": _Machine.string_line,
    "BINSTRING": _bytes(_I4),
    "SHORT_BINSTRING": _bytes(_U1),
    "BINBYTES": _bytes(_U4),
    "SHORT_BINBYTES": _bytes(_U1),
    "BINBYTES8": _bytes(_U8),
    "BYTEARRAY8": _bytes(_U8),
    "UNICODE": lambda m: m.push(m.line("unicode")),
    "BINUNICODE": _text(_U4),
    "SHORT_BINUNICODE": _text(_U1),
    "BINUNICODE8": _text(_U8),
    "EMPTY_LIST": lambda m: m.push([]),
    "EMPTY_TUPLE": lambda m: m.push(()),
    "MARK": _Machine.mark,
    "LIST": lambda m: m.push(m.pop_marked()),
    "TUPLE": lambda m: m.push(tuple(m.pop_marked())),
    "TUPLE1": lambda m: m.tuple_of(1),
    "TUPLE2": lambda m: m.tuple_of(2),
    "TUPLE3": lambda m: m.tuple_of(3),
    "APPEND": lambda m: m.append([m.pop()]),
    "APPENDS": lambda m: m.append(m.pop_marked()),
    "PUT": lambda m: m.put(m.integer_line()),
    "BINPUT": lambda m: m.put(m.number(_U1)),
    "LONG_BINPUT": lambda m: m.put(m.number(_U4)),
    "MEMOIZE": lambda m: m.put(len(m.memo)),
    "GET": lambda m: m.get(m.integer_line()),
    "BINGET": lambda m: m.get(m.number(_U1)),
    "LONG_BINGET": lambda m: m.get(m.number(_U4)),
    "GLOBAL": _Machine.global_line,
    "STACK_GLOBAL": _Machine.global_stack,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
_INSTRUCTIONS = {code: _BY_NAME[name] for code, name in _NAMES.items() if name in _BY_NAME}
