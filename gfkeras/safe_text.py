"""Safe printing and writing of text from unknown sources, such as names of files and people."""

from __future__ import annotations

import unicodedata
from pathlib import PurePath
from typing import Any

# Invisible characters that are kept, because Persian and Indic names need them.
_JOINERS = "\u200c\u200d"
# A spreadsheet reads a cell with one of these beginnings as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def utf8(text: str) -> str:
    """Returns a text as valid Unicode. Bytes that are not UTF-8 are written as `\\xe9`.

    Names of files can have such bytes. Python represents them as lone surrogates, which cannot be
    written to a file or a terminal.
    """
    if text.isascii():
        return text
    kept = "".join(f"\\u{ord(c):04x}" if _stands_for_nothing(c) else c for c in text)
    # If the encoding of the system is not UTF-8, the bytes can still be valid UTF-8.
    return kept.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _stands_for_nothing(character: str) -> bool:
    """Whether a character is a lone surrogate that does not represent a byte."""
    return "\ud800" <= character <= "\udfff" and not "\udc80" <= character <= "\udcff"


def printable(text: str) -> str:
    """Returns a text in one line without effects on a terminal.

    Control characters (escape sequences, bells, line feeds), marks that change the direction of
    text and other invisible characters are written as Python escapes, such as `\\x1b`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_shown(c) else ascii(c)[1:-1] for c in utf8(text))


def _is_shown(character: str) -> bool:
    # Spaces of other widths are harmless, and Japanese names use one.
    return (
        character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    )


def person_name(name: str) -> str:
    """Returns a person's name from a file system or a list as valid Unicode in the form NFC.

    macOS writes "é" as two characters, other systems as one. Both must be the same person.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", utf8(name))


def csv_cell(value: Any) -> Any:
    """Returns a value for a cell of a CSV file that a spreadsheet does not read as a formula.

    Numbers are unchanged, also as text. Other text with the beginning of a formula gets an
    apostrophe before it. A path gets `./`, which still names the same file.
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
