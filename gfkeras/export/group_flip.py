"""An image for which two runtimes chose different groups."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupFlip:
    """One image whose chosen group differs between reference and candidate.

    Attributes:
        image: its position.
        reference, candidate: the groups chosen.
        gap: the reference's logit of its own choice less that of the candidate's,
            as a fraction of the image's range of logits.
        near_tie: whether the gap is within numerical noise.
    """

    image: int
    reference: int
    candidate: int
    gap: float
    near_tie: bool
