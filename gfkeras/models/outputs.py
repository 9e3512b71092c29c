"""One form for what face models return."""

from __future__ import annotations

from typing import Any


def as_outputs(result: Any) -> dict[str, Any]:
    """A dictionary with the key "embedding", from a model with or without groups.

    Args:
        result: what a backbone (a tensor) or `GroupFace` (a dictionary) returned.

    Returns:
        `{"embedding": result}`, or the dictionary as it is.

    Raises:
        ValueError: for a dictionary without "embedding" or anything else.
    """
    if isinstance(result, dict):
        if "embedding" not in result:
            raise ValueError(
                f"A face model's outputs must hold 'embedding'. Received: {sorted(result)}"
            )
        return result
    if not hasattr(result, "shape"):
        raise ValueError(
            "A face model must return the embedding or a dictionary with 'embedding'. "
            f"Received: {type(result).__name__}"
        )
    return {"embedding": result}
