"""Cards of artefacts, beside the file and inside it."""

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
