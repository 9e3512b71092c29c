"""Margin heads: embeddings and labels in, logits out."""

from __future__ import annotations

from typing import Any

from gfkeras.errors import by_name
from gfkeras.heads.arcface import ArcFace
from gfkeras.heads.margin_head import MarginHead, cosine_similarity

__all__ = ["ArcFace", "MarginHead", "cosine_similarity", "get"]

HEADS: dict[str, type[MarginHead]] = {cls.__name__: cls for cls in (ArcFace,)}


def get(name: str, **arguments: Any) -> MarginHead:
    """Builds the head called `name`, such as "ArcFace".

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    return by_name("head", name, HEADS)(**arguments)
