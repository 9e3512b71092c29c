"""Model cards, next to an artefact and inside it."""

from gfkeras.cards.card import (
    CARD_FORMAT,
    FLOAT_PRECISIONS,
    card_path,
    embed_card,
    embedded_card,
    file_facts,
    read_card,
    record,
    recordable_card,
    write_card,
)

__all__ = [
    "CARD_FORMAT",
    "FLOAT_PRECISIONS",
    "card_path",
    "embed_card",
    "embedded_card",
    "file_facts",
    "read_card",
    "record",
    "recordable_card",
    "write_card",
]
