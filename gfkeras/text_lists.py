"""Lists in text files: their lines, fields and numbers, and errors that name the line.

One reader for all: names, images, pairs, protocols and tables, as people's editors and
spreadsheets save them.
"""

from __future__ import annotations

import codecs
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

# No list has a longer line; without a bound, a file without line ends would be read into memory
# whole.
MAX_LINE = 1 << 16
# A byte order mark says how the text is encoded; Windows' editors write one.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_COMMENT = re.compile(r"\s*#([\s#!]|$)")
_FIELD = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|\S+')
_FLOAT = re.compile(r"\+?(\d+)\.0*", re.ASCII)
_NUMBER = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.ASCII | re.IGNORECASE
)


def lines(path: Path, keep_bytes: bool = False) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without the line's end) of the lines that hold something.

    The text is UTF-8, or UTF-16 with a byte order mark; lines end as on Unix, Windows or old Macs.
    Blank lines are left out, and comments, which begin with "# ". With `keep_bytes` what is no
    UTF-8 comes as in names of files (lone surrogates).

    Raises:
        ValueError: for a line that is no text or has no end in sight, naming file and line.
        OSError: for a file that cannot be opened.
    """
    with path.open("rb") as file:
        # A look without moving on: a shell's <(…) cannot go back.
        start = file.peek(4)
        encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
        errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
        text = io.TextIOWrapper(file, encoding, errors, newline=None)
        number = 0
        while True:
            try:
                line = text.readline(MAX_LINE)
            except UnicodeDecodeError as error:
                expected = "UTF-8 or UTF-16 text"
                raise unexpected(path, number + 1, expected, error.reason) from error
            if not line:
                return
            number += 1
            if len(line) == MAX_LINE:
                raise unexpected(path, number, f"lines under {MAX_LINE} bytes", "a longer one")
            line = line.rstrip("\r\n")
            if not line.isascii() and not keep_bytes and re.search("[\udc80-\udcff]", line):
                received = os.fsencode(line)[:80]
                raise malformed(path, number, "UTF-8 text", received)
            if "\0" in line:
                raise malformed(path, number, "text without NUL characters (UTF-8)", line[:80])
            if line.strip() and not ("#" in line and _COMMENT.match(line)):
                yield number, line


def fields(text: str, delimiter: str | None = None) -> list[str]:
    """The fields of a line, without blanks around them.

    Tabs part them where there are any (or the `delimiter` given), so that a name may hold blanks;
    else blanks do. A field in double quotes may hold either.
    """
    if delimiter is None and "\t" not in text:
        found = _FIELD.finditer(text.strip())
        return [unquoted(match.group()) for match in found]
    return [unquoted(field.strip()) for field in text.strip(" \r\n").split(delimiter or "\t")]


def delimiter_of(header: str) -> str:
    """What parts the columns of a table: tabs if there are any, else commas, else semicolons."""
    return next((character for character in "\t,;" if character in header), ",")


def unquoted(field: str) -> str:
    """A field without the double quotes around it, in which a doubled quote is one."""
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def quoted(text: str) -> str:
    """A text as a field that `lines` and `unquoted` take for itself: no comment, no blanks lost."""
    if text[:1] in ("#", '"') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def malformed(path: Path, line: int, expected: str, text: object) -> ValueError:
    """The error for a line that is not as it should be, quoting it."""
    return unexpected(path, line, expected, repr(text)[:300])


def unexpected(path: Path, line: int, expected: str, received: object) -> ValueError:
    """As `malformed`, with a description in place of the text."""
    return ValueError(f"{path}, line {line}: expected {expected}. Received: {received}")


def is_count(text: str, bits: int = 63) -> bool:
    """Whether a field is a whole number of 0 or more that fits into `bits` bits."""
    # The length first: Python refuses to convert numbers of thousands of digits.
    return text.isascii() and text.isdigit() and len(text) <= 20 and int(text) >> bits == 0


def finite(text: str) -> float | None:
    """A field as a number; None where it is none, or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def five_points(values: Sequence[str]) -> tuple[tuple[float, float], ...] | None:
    """x1, y1, …, x5, y5 as five points; None where they are not ten finite numbers."""
    numbers = [number for value in values if (number := finite(value)) is not None]
    if len(values) != 10 or len(numbers) != 10:
        return None
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def is_number(text: str) -> bool:
    """Whether a field is a number, finite or not."""
    return _NUMBER.fullmatch(text) is not None


def label_name(text: str) -> str | None:
    """The identity that a label stands for: "7" of 7 and 7.0, a name as it is.

    None for numbers that can be no label: 1.5, −1, 1e3, NaN. Rounding them would make one person
    of two.
    """
    if is_count(text):
        return text
    whole = _FLOAT.fullmatch(text)
    if whole is not None and is_count(whole.group(1)):
        return whole.group(1)
    return None if is_number(text) else text
