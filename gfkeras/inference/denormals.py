"""Numbers too small for a float's full precision, flushed to zero on this thread."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np

# Where C's `fenv_t` keeps the register that has the flags: its offset, type, and the flags that
# flush results and inputs. From <fenv.h> of glibc, musl and macOS.
_REGISTERS: dict[tuple[str, str], tuple[int, Any, int]] = {
    ("Linux", "x86_64"): (28, ctypes.c_uint32, 0x8040),
    ("Linux", "aarch64"): (0, ctypes.c_uint32, 1 << 24),
    ("Darwin", "x86_64"): (4, ctypes.c_uint32, 0x8040),
    ("Darwin", "arm64"): (8, ctypes.c_uint64, 1 << 24),
}
_SIZE = 64


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Inside of the block denormals are zero on this thread; afterwards all is as it was.

    Weights near zero make activations under 1.2e-38, which many processors multiply twenty times
    more slowly. The flags belong to the thread, and those that it starts inherit them: TensorFlow,
    XLA and XNNPACK set them wherever they work, LiteRT's other kernels and ONNX Runtime do not on
    the thread that calls them. (ONNX Runtime's own option reaches the first session's thread only,
    and never takes the flags back, so that the caller's NumPy changes with it.)

    On systems other than Linux and macOS nothing is changed.

    Example:
        with flushed_denormals():
            session.run(None, {"images": images})
    """
    library = _library()
    if library is None:
        yield
        return
    before = (ctypes.c_ubyte * _SIZE)()
    library.fegetenv(before)
    _set(library, before)
    try:
        yield
    finally:
        library.fesetenv(before)


def _set(library: Any, environment: Any) -> None:
    """A copy of the environment with the flags set becomes the thread's."""
    offset, kind, flags = _REGISTERS[platform.system(), platform.machine()]
    changed = (ctypes.c_ubyte * _SIZE).from_buffer_copy(environment)
    kind.from_buffer(changed, offset).value |= flags
    library.fesetenv(changed)


@functools.cache
def _library() -> Any:
    """C's library of mathematics; None where the flags cannot be set with it."""
    if (platform.system(), platform.machine()) not in _REGISTERS:
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "fesetenv"):
        return None
    before = (ctypes.c_ubyte * _SIZE)()
    library.fegetenv(before)
    _set(library, before)
    flushed = np.float32(1e-39) * np.float32(1) == 0
    library.fesetenv(before)
    return library if flushed else None
