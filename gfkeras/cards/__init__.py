"""The card of an artefact: where it lies, and how it is kept inside the artefact as well."""

from gfkeras.cards.card import (
    CARD_FORMAT,
    FLOAT_PRECISIONS,
    card_path,
    card_text,
    embed_card,
    embedded_card,
    file_facts,
)

__all__ = [
    "CARD_FORMAT",
    "FLOAT_PRECISIONS",
    "card_path",
    "card_text",
    "embed_card",
    "embedded_card",
    "file_facts",
]
