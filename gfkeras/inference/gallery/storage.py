"""How directions are kept: as float32, float16 or one byte a dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

STORAGES: dict[str, npt.DTypeLike] = {"float32": "<f4", "float16": "<f2", "int8": "i1"}
# Rows decoded at once: they stay in the processor's cache meanwhile.
_CHUNK = 512


def encode(rows: npt.NDArray[np.float32], storage: str) -> npt.NDArray[Any]:
    """(N, D) directions as they are kept.

    An int8 code is the row scaled so that its largest number is 127, and rounded. Its length says
    nothing: only directions are kept, D bytes each, 128 for FaceNet's 128 dimensions.
    """
    if storage == "int8":
        largest = np.abs(rows).max(axis=1, keepdims=True)
        return np.rint(rows * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)
    return rows.astype(STORAGES[storage], copy=False)


def decode(
    kept: npt.NDArray[Any], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Kept rows as float32 of length 1 (0 where a row is 0).

    Args:
        kept: (N, D) in any storage.
        out: (N, D) to write to.
    """
    if out is None:
        out = np.empty(kept.shape, np.float32)
    if kept.dtype == np.float32:
        # They were of length 1 when they were kept, and stay what they were to the bit.
        out[...] = kept
        return out
    for start in range(0, len(kept), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows = out[part]
        rows[...] = kept[part]
        # As `unit`, without its arrays between: half of the time.
        scale = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        np.divide(1, scale, out=scale, where=scale > 0)
        rows *= scale[:, None]
    return out
