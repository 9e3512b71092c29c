"""Late and quiet import of Keras, its backend and LiteRT."""

import base64
import contextlib
import functools
import logging
import os
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from types import ModuleType

# TensorFlow reads these variables once, at its first import.
_DEFAULTS = {
    "GRPC_VERBOSITY": "ERROR",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # On processors without AVX-512, TensorFlow disables oneDNN and trains at half the speed.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


def set_defaults() -> None:
    """Sets TensorFlow's environment variables that the user has not set."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def load_keras() -> None:
    """Imports Keras and its backend, without their log lines on stderr.

    Call it before `import keras`. Raises an ImportError that names the extra to install.
    """
    if "keras" in sys.modules:
        return
    set_defaults()
    try:
        with held_stderr():
            import keras  # noqa: F401

            if (tensorflow := sys.modules.get("tensorflow")) is not None:
                # On a machine without a GPU, the first search for one logs an error.
                tensorflow.config.list_physical_devices()
    except ModuleNotFoundError as error:
        raise missing_package(error) from error


def missing_package(error: ModuleNotFoundError) -> ImportError:
    """Returns an error that names the extra to install for Keras or its backend.

    Returns `error` itself if another package is missing.
    """
    missing = (error.name or "").partition(".")[0]
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    extras = {"jax": "jax", "jaxlib": "jax", "tensorflow": "tensorflow"}
    extras |= dict.fromkeys(("h5py", "keras", "safetensors"), backend)
    if extras.get(missing) not in ("jax", "tensorflow"):
        return error
    return ImportError(
        f"This needs the package {missing!r}, which is not installed. "
        f"Install it with: pip install 'gfkeras[{extras[missing]}]'"
    )


# A compressed .tflite file with one operator, ABS, that XNNPACK supports.
_SMALLEST_TFLITE = (
    "eNqTYGBgCHHzMWZg4GMQYRBg4GHgAIqwAHkMQB4DgwwQbwFiZiBmBGKILAhC+CA1PHCdLEASImYDxA5A7IKkjoGBCywP"
    "UscFNYsHKg/DDFj4TECsALaXgeHd////WVDk2cDmsUHlkfVC3MbDwA1WB3FbKsTIVABheAlR"
)


@functools.cache
def load_litert() -> ModuleType:
    """Imports and returns `ai_edge_litert.interpreter` without its log line on stderr.

    LiteRT logs once per process that it uses XNNPACK, and has no setting to turn this off. The line
    appears when the first model is prepared, so a tiny model is prepared here.
    """
    from ai_edge_litert import interpreter

    content = zlib.decompress(base64.b64decode(_SMALLEST_TFLITE))
    with held_stderr():
        interpreter.Interpreter(model_content=content, num_threads=1).allocate_tensors()
    return interpreter


# File descriptor 2 belongs to the process: two threads that redirect it at the same time would
# lose the original one.
_holding = threading.RLock()


@contextlib.contextmanager
def held_stderr() -> Iterator[None]:
    """Discards the output of libraries to file descriptor 2, unless the block raises an error.

    TensorFlow's libraries log while they are loaded, before they read any setting. After a
    ModuleNotFoundError the output is discarded too, because it does not explain the error.
    """
    with _holding:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:
            # The process has no stderr.
            yield
            return
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            except BaseException as error:
                if not isinstance(error, ModuleNotFoundError):
                    held.seek(0)
                    os.write(kept, held.read())
                raise
            finally:
                os.dup2(kept, 2)
                os.close(kept)


@contextlib.contextmanager
def networks_in_turn() -> Iterator[None]:
    """Silences TensorFlow's retracing warning, which every new network would cause."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
