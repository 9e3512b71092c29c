"""Names as two columns of a file: their bytes one after another, and where each ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def joined_names(names: list[str]) -> dict[str, npt.NDArray[Any]]:
    """The two columns: "name_bytes" in UTF-8, and "name_ends"."""
    encoded = [name.encode("utf-8") for name in names]
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    return {
        "name_bytes": np.frombuffer(b"".join(encoded), np.uint8),
        "name_ends": ends.reshape(len(names)),
    }


def split_names(columns: dict[str, npt.NDArray[Any]]) -> list[str]:
    """Takes the two columns out of `columns` and gives the names."""
    content = columns.pop("name_bytes").tobytes()
    ends = columns.pop("name_ends").tolist()
    return [
        content[start:end].decode("utf-8") for start, end in zip([0, *ends], ends, strict=False)
    ]
