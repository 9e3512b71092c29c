"""What a search finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Match:
    """One person of a gallery beside a probe.

    Attributes:
        name: the person.
        similarity: what the search ranks by: the cosine, or the group-aware similarity.
        cosine: of the embeddings.
        photos: how many photos the person's template is the mean of.
    """

    name: str
    similarity: float
    cosine: float
    photos: int
