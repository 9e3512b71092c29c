"""Interface of the runtimes, their common checks, and flushing of denormals."""

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np


class Runtime(Protocol):
    """Runs one model.

    Several threads can use it at the same time. If it has a method `copy`, each thread needs its
    own copy instead.

    Attributes:
        image_size: side of the images in pixels, or height and width if they differ.
        batch_size: fixed batch size, or None for any.
        compiles: whether each new batch size is compiled first.
        good_batch: a fast batch size. On a processor it is small, because the activations should
            fit into the cache.
    """

    image_size: int | tuple[int, int]
    batch_size: int | None
    compiles: bool
    good_batch: int

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the outputs by name for (B, H, W, 3) float32 images, 0…255."""


def image_input(
    shape: Sequence[int | str | None] | None, origin: str
) -> tuple[int | tuple[int, int], int | None]:
    """Returns (image size, fixed batch size or None) of a model's input shape.

    The size is one number for square images, and (height, width) for others. Raises ValueError if
    the shape is not (B, H, W, 3) with a fixed H and W.
    """
    dimensions = [d if isinstance(d, int) and d > 0 else None for d in shape or ()]
    batch, height, width, channels = dimensions if len(dimensions) == 4 else [None] * 4
    if channels != 3 or height is None or width is None:
        wanted = "a fixed height and width" if channels == 3 else "shape (B, H, W, 3)"
        raise ValueError(
            f"{origin} must take images of {wanted}. Received: an input of shape "
            f"{tuple(shape or ())}"
        )
    return height if height == width else (height, width), batch


def named_outputs(names: Sequence[str], origin: str) -> list[str]:
    """Returns the names for a model's outputs. A single output is the embedding."""
    if len(names) == 1:
        return ["embedding"]
    if "embedding" not in names:
        raise ValueError(
            f"{origin} must have one output, or one called 'embedding'. Received: {sorted(names)}"
        )
    return list(names)


# Position of the control register in C's `fenv_t`: its offset, its type, and the flags that flush
# results and inputs. The values are from <fenv.h> of glibc, musl and macOS.
_REGISTERS: dict[tuple[str, str], tuple[int, Any, int]] = {
    ("Linux", "x86_64"): (28, ctypes.c_uint32, 0x8040),
    ("Linux", "aarch64"): (0, ctypes.c_uint32, 1 << 24),
    ("Darwin", "x86_64"): (4, ctypes.c_uint32, 0x8040),
    ("Darwin", "arm64"): (8, ctypes.c_uint64, 1 << 24),
}
# Bytes for an `fenv_t`, more than any of these systems needs.
_SIZE = 64


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Treats denormals as zero on this thread inside the block.

    Weights near zero can produce activations below 1.2e-38. Many processors multiply them twenty
    times more slowly. The flags belong to the thread, and new threads inherit them. TensorFlow, XLA
    and XNNPACK set the flags themselves. LiteRT's other kernels and ONNX Runtime do not set them on
    the calling thread. (ONNX Runtime has an option, but it reaches only the first session's thread.
    It is also never undone, which would change NumPy's results in the caller.)

    The flags are set on Linux and macOS. On other systems, the function does nothing.
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
    """Sets the thread's floating-point environment to a copy with the flags set."""
    offset, kind, flags = _REGISTERS[platform.system(), platform.machine()]
    changed = (ctypes.c_ubyte * _SIZE).from_buffer_copy(environment)
    kind.from_buffer(changed, offset).value |= flags
    library.fesetenv(changed)


@functools.cache
def _library() -> Any:
    """Returns C's mathematical library, or None if it cannot set the flags."""
    if (platform.system(), platform.machine()) not in _REGISTERS:
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "fesetenv"):
        return None
    before = (ctypes.c_ubyte * _SIZE)()
    library.fegetenv(before)
    # A trial: another C library can have another layout of `fenv_t`.
    _set(library, before)
    flushed = np.float32(1e-39) * np.float32(1) == 0
    library.fesetenv(before)
    return library if flushed else None
