"""Reading of lists in text files: lines, fields and numbers, and errors that name the line.

All lists use this reader: names, images, pairs, protocols and tables. It accepts the formats of
common editors and spreadsheets.
"""

from __future__ import annotations

import codecs
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

# Longest line in characters. Without a limit, a file without line ends would be read as one line
# and could fill the memory.
MAX_LINE = 1 << 16
# Byte order marks, which editors on Windows write, and the encodings that they stand for.
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
    """Yields (line number from 1, text without line end) for the lines of a file.

    The text is UTF-8, or UTF-16 with a byte order mark. Line ends are those of Unix, Windows or
    old Macs. Empty lines and comments, which begin with "# ", are left out. With `keep_bytes`,
    bytes that are not UTF-8 become lone surrogates, as in names of files.

    Raises:
        ValueError: if a line is not text or too long. The message names file and line.
        OSError: if the file cannot be opened.
    """
    with path.open("rb") as file:
        # Peek instead of read and seek: a shell's <(…) cannot seek.
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
                raise unexpected(path, number, f"lines under {MAX_LINE} bytes", "a longer line")
            line = line.rstrip("\r\n")
            if not line.isascii() and not keep_bytes and re.search("[\udc80-\udcff]", line):
                received = os.fsencode(line)[:80]
                raise malformed(path, number, "UTF-8 text", received)
            if "\0" in line:
                raise malformed(path, number, "text without NUL characters (UTF-8)", line[:80])
            if line.strip() and not ("#" in line and _COMMENT.match(line)):
                yield number, line


def fields(text: str, delimiter: str | None = None) -> list[str]:
    """Returns the fields of a line, without spaces around them.

    `delimiter` or tabs separate the fields, and a name can contain spaces. In a line without tabs,
    spaces separate them. A field in double quotes can contain both.
    """
    if delimiter is None and "\t" not in text:
        found = _FIELD.finditer(text.strip())
        return [unquoted(match.group()) for match in found]
    return [unquoted(field.strip()) for field in text.strip(" \r\n").split(delimiter or "\t")]


def delimiter_of(header: str) -> str:
    """Returns the delimiter of a table: tab if there is one, else comma, else semicolon."""
    return next((character for character in "\t,;" if character in header), ",")


def unquoted(field: str) -> str:
    """Returns a field without the double quotes around it. A doubled quote becomes one quote."""
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def quoted(text: str) -> str:
    """Returns a text as a field that `lines` and `unquoted` read back unchanged.

    Quotes protect a text that looks like a comment or has spaces at its ends.
    """
    if text[:1] in ("#", '"') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def malformed(path: Path, line: int, expected: str, text: object) -> ValueError:
    """Returns the error for a malformed line, and quotes the line."""
    return unexpected(path, line, expected, repr(text)[:300])


def unexpected(path: Path, line: int, expected: str, received: object) -> ValueError:
    """Returns the error for a malformed line, with a description of what was received."""
    return ValueError(f"{path}, line {line}: expected {expected}. Received: {received}")


def is_count(text: str, bits: int = 63) -> bool:
    """Whether a field is a whole number of at least 0 that fits into `bits` bits."""
    # Check the length first: Python raises an error for numbers with thousands of digits.
    return text.isascii() and text.isdigit() and len(text) <= 20 and int(text) >> bits == 0


def finite(text: str) -> float | None:
    """Returns a field as a number, or None if it is not a finite number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def five_points(values: Sequence[str]) -> tuple[tuple[float, float], ...] | None:
    """Returns x1, y1, …, x5, y5 as five points, or None unless they are ten finite numbers."""
    numbers = [number for value in values if (number := finite(value)) is not None]
    if len(values) != 10 or len(numbers) != 10:
        return None
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def is_number(text: str) -> bool:
    """Whether a field is a number, finite or not."""
    return _NUMBER.fullmatch(text) is not None


def label_name(text: str) -> str | None:
    """Returns the identity of a label: "7" for 7 and 7.0, and a name unchanged.

    Returns None for numbers that cannot be labels, such as 1.5, −1, 1e3 and NaN. Rounding them
    could merge two people.
    """
    if is_count(text):
        return text
    whole = _FLOAT.fullmatch(text)
    if whole is not None and is_count(whole.group(1)):
        return whole.group(1)
    return None if is_number(text) else text
