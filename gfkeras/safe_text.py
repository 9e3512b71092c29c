"""Text from anywhere, such as names of files and people, made safe to print and to write."""

from __future__ import annotations

import unicodedata
from pathlib import PurePath
from typing import Any

# Kept though they are invisible: Persian and Indic names are written with them.
_JOINERS = "\u200c\u200d"
# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def utf8(text: str) -> str:
    """The text with bytes that are no UTF-8, as names of files may have them, written as `\\xe9`.

    Python holds such bytes as lone surrogates, which no file and no terminal takes.
    """
    if text.isascii():
        return text
    kept = "".join(f"\\u{ord(c):04x}" if _stands_for_nothing(c) else c for c in text)
    # Where the system's encoding is not UTF-8, the bytes may well be.
    return kept.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _stands_for_nothing(character: str) -> bool:
    """Whether a character is a lone surrogate that stands for no byte."""
    return "\ud800" <= character <= "\udfff" and not "\udc80" <= character <= "\udcff"


def printable(text: str) -> str:
    """The text in one line that a terminal shows and does not obey.

    Control characters (escape sequences, bells, line feeds), marks that turn the direction of
    writing and other invisible characters are written as Python escapes, such as `\\x1b`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_shown(c) else ascii(c)[1:-1] for c in utf8(text))


def _is_shown(character: str) -> bool:
    # Blanks of other widths are no harm: Japanese names have one.
    return (
        character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    )


def person_name(name: str) -> str:
    """A person's name as of the file system or a list: valid Unicode, in the form NFC.

    macOS writes names decomposed and others do not: "é" is one person whichever way it came.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", utf8(name))


def csv_cell(value: Any) -> Any:
    """A value for a cell of a CSV file, from which a spreadsheet makes no formula.

    Numbers stay as they are, as values and as text. Other text that begins as a formula does gets
    an apostrophe before it, and a path `./`, which names the same file.
    """
    if isinstance(value, PurePath):
        text = utf8(str(value))
        return f"./{text}" if text.startswith(_FORMULA) else text
    if not isinstance(value, str):
        return value
    text = utf8(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text.isprintable()
