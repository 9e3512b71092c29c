"""Keras, its backend and LiteRT, imported quietly and only when they are needed."""

import base64
import contextlib
import functools
import os
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from types import ModuleType

# TensorFlow reads them once, when it is first imported.
_DEFAULTS = {
    "GRPC_VERBOSITY": "ERROR",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # On processors with AVX2 only, TensorFlow leaves oneDNN off and trains at half the speed.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


def set_defaults() -> None:
    """Sets TensorFlow's environment variables where the user has not set them."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def load_keras() -> None:
    """Imports Keras and its backend, and keeps their log lines off stderr.

    Call it before `import keras`. An ImportError names the extra to install.
    """
    if "keras" in sys.modules:
        return
    set_defaults()
    try:
        with held_stderr():
            import keras  # noqa: F401

            if (tensorflow := sys.modules.get("tensorflow")) is not None:
                # The search for a GPU logs an error where there is none.
                tensorflow.config.list_physical_devices()
    except ModuleNotFoundError as error:
        raise missing_package(error) from error


def missing_package(error: ModuleNotFoundError) -> ImportError:
    """The error that names the extra, where Keras or its backend is missing; else the same one."""
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


# A .tflite of one operator, ABS, which XNNPACK takes.
_SMALLEST_TFLITE = (
    "eNqTYGBgCHHzMWZg4GMQYRBg4GHgAIqwAHkMQB4DgwwQbwFiZiBmBGKILAhC+CA1PHCdLEASImYDxA5A7IKkjoGBCywP"
    "UscFNYsHKg/DDFj4TECsALaXgeHd////WVDk2cDmsUHlkfVC3MbDwA1WB3FbKsTIVABheAlR"
)


@functools.cache
def load_litert() -> ModuleType:
    """`ai_edge_litert.interpreter`, which has said already that it uses XNNPACK.

    LiteRT logs that line once in a process, when it first prepares a model, without a setting for
    it.
    """
    from ai_edge_litert import interpreter

    content = zlib.decompress(base64.b64decode(_SMALLEST_TFLITE))
    with held_stderr():
        interpreter.Interpreter(model_content=content, num_threads=1).allocate_tensors()
    return interpreter


# Descriptor 2 belongs to the process: two threads that held it would lose it.
_holding = threading.RLock()


@contextlib.contextmanager
def held_stderr() -> Iterator[None]:
    """Holds back what libraries write to file descriptor 2; an error shows it after all.

    TensorFlow's libraries log while they are loaded, before they read any setting. A missing
    module needs no log to explain it.
    """
    with _holding:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:
            # There is no stderr to keep clean.
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
