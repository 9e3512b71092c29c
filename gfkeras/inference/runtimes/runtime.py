"""What an Embedder asks of a runtime, and checks all of them share."""

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np


class Runtime(Protocol):
    """Runs one model, for several threads at once unless it has a `copy`, which is for another one.

    Attributes:
        image_size: height and width of the images it takes.
        batch_size: the batch it is fixed to, or None for any.
        compiles: whether every new size of batch is compiled first.
        good_batch: how many images at once are fast: on a processor few, whose activations stay in
            its cache.
    """

    image_size: int
    batch_size: int | None
    compiles: bool
    good_batch: int

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """From (B, H, W, 3) float32, 0…255, to arrays by output name."""


def image_input(shape: Sequence[int | str | None] | None, origin: str) -> tuple[int, int | None]:
    """(image size, fixed batch or None) from a model's input shape, which must be (B, H, H, 3)."""
    dimensions = [d if isinstance(d, int) and d > 0 else None for d in shape or ()]
    if len(dimensions) != 4 or dimensions[3] != 3 or dimensions[1] != dimensions[2]:
        raise ValueError(
            f"{origin} must take images of shape (B, H, H, 3). Received: an input of shape "
            f"{tuple(shape or ())}"
        )
    if dimensions[1] is None:
        raise ValueError(f"{origin} must take images of a fixed height and width.")
    return dimensions[1], dimensions[0]


def named_outputs(names: Sequence[str], origin: str) -> list[str]:
    """The names under which outputs are returned: a single one is the embedding."""
    if len(names) == 1:
        return ["embedding"]
    if "embedding" not in names:
        raise ValueError(
            f"{origin} must have one output, or one called 'embedding'. Received: {sorted(names)}"
        )
    return list(names)


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

    Only Linux and macOS are known; elsewhere nothing is changed.
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
