"""Tensors of a PyTorch file, read without PyTorch and without running anything in it.

A `.pt` file is a pickle, and a pickle can name any function to be called. Here it can name the
few that put a tensor together; anything else ends the reading.
"""

import collections
import io
import math
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

# PyTorch's kinds of storage, to NumPy's types. bfloat16 is float32 without its lower half.
_STORAGES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("<i1"),
    "ByteStorage": np.dtype("<u1"),
    "BoolStorage": np.dtype("?"),
}
# Of files before PyTorch 1.6, torch.serialization.MAGIC_NUMBER.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_DIMENSIONS = 16


def is_torch(data: bytes) -> bool:
    """Whether a file that begins with `data` may be what `torch.save` wrote."""
    return data[:4] == b"PK\x03\x04" or data[:1] == b"\x80"


def read_torch_state(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a state dict, by name, in the file's order.

    The file is what `torch.save(model.state_dict(), path)` wrote, or a checkpoint with one state
    dict in it, under "state_dict", "model" and the like.

    Raises ValueError for a damaged file, none of PyTorch's, or a pickle that names anything but
    tensors. Nothing in it is run.
    """
    path = Path(path)
    try:
        loaded = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is damaged: {error}") from error
    except _Refused as error:
        raise ValueError(
            f"{path} is refused: {error}. A file of weights holds tensors only; nothing of it "
            "was run"
        ) from error
    except (pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, KeyError,
            IndexError, TypeError, AttributeError, OverflowError, UnicodeDecodeError,
            RuntimeError, NotImplementedError, MemoryError, OSError) as error:  # fmt: skip
        raise ValueError(f"{path} is damaged or no PyTorch file: {error!r}") from error
    return _state_dict(loaded, path)


def _state_dict(loaded: Any, path: Path) -> dict[str, np.ndarray]:
    if isinstance(loaded, dict):
        tensors = {name: value for name, value in loaded.items() if isinstance(value, np.ndarray)}
        if tensors:
            return {str(name): value for name, value in tensors.items()}
        inner = [value for value in loaded.values() if isinstance(value, dict)]
        found = [value for value in inner if any(isinstance(v, np.ndarray) for v in value.values())]
        if len(found) == 1:
            return _state_dict(found[0], path)
    keys = f" with {sorted(map(str, loaded))[:5]}" if isinstance(loaded, dict) else ""
    raise ValueError(
        f"{path} must hold one state dict, names to tensors, as "
        f"torch.save(model.state_dict(), ...) writes it. Received: a {type(loaded).__name__}{keys}"
    )


class _Refused(Exception):
    """The pickle asks for something that no tensor needs."""


class _Storage:
    """The numbers of one or several tensors."""

    def __init__(self, kind: str, data: bytes):
        self.kind = kind
        dtype = _STORAGES[kind]
        self.values = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)


def _rebuild_tensor(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> np.ndarray:
    """torch._utils._rebuild_tensor_v2: a view of a storage, checked against its end."""
    if not isinstance(storage, _Storage):
        raise TypeError("a tensor without a storage")
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS or offset < 0:
        raise ValueError("A tensor's shape does not fit its strides")
    if any(side < 0 for side in (*size, *stride)):
        raise ValueError("A tensor's shape or stride is negative")
    values, kind = storage.values, storage.kind
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and last >= values.size:
        raise ValueError(
            f"A tensor of shape {tuple(size)} reaches beyond its storage of {values.size} numbers"
        )
    # A view with strides of zero could stand for far more than the file holds.
    if math.prod(size) * values.itemsize > max(1 << 20, 4 * values.nbytes):
        raise ValueError(f"A tensor of shape {tuple(size)} is larger than its storage")
    if 0 in size:
        array = np.zeros(size, values.dtype)
    else:
        strides = [step * values.itemsize for step in stride]
        array = np.lib.stride_tricks.as_strided(values[offset:], size, strides, writeable=False)
    if kind == "BFloat16Storage":
        return (array.astype("<u4") << np.uint32(16)).view("<f4")
    return np.ascontiguousarray(array)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch", "Size"): tuple,
    **{("torch", name): name for name in _STORAGES},
}


class _Unpickler(pickle.Unpickler):
    """Knows what a state dict is made of, and nothing else."""

    def __init__(self, file: Any, storages: Any):
        super().__init__(file, encoding="utf-8")
        self._storage = storages

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"its pickle asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError("A storage of unknown form")
        if pid[1] not in _STORAGES:
            raise ValueError("A storage of unknown kind")
        return self._storage(pid[1], str(pid[2]), int(pid[4]))


class _Scanner(_Unpickler):
    """Notes the storages that a pickle names; tensors are not put together yet."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return (lambda *_: None) if found is _rebuild_tensor else found


def _read_zip(path: Path) -> Any:
    """The format since PyTorch 1.6: a zip archive, stored, a member for each storage."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError(
                f"{path} is a zip archive, but none of PyTorch's: it has no single data.pkl "
                "(a TorchScript archive holds code and is not read)"
            )
        folder = names[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in archive.namelist():
            raise ValueError(
                f"{path} is a TorchScript archive, which holds code: expected a state dict, as "
                "torch.save(model.state_dict(), ...) writes it"
            )
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order).strip() != b"little":
            raise ValueError(f"{path} was written on a big-endian machine, which is not read")
        read: dict[str, _Storage] = {}
        whole = path.stat().st_size

        def storage(kind: str, key: str, count: int) -> _Storage:
            if key not in read:
                member = archive.getinfo(f"{folder}data/{key}")
                # PyTorch stores without compression: more than the file holds is a trap.
                if member.file_size > whole:
                    raise ValueError(f"{path} is damaged: a storage larger than the file")
                read[key] = _Storage(kind, archive.read(member))
            return read[key]

        return _Unpickler(io.BytesIO(archive.read(names[0])), storage).load()


def _read_legacy(path: Path) -> Any:
    """The format before PyTorch 1.6: pickles in a row, then the storages."""
    data = path.read_bytes()
    stream = io.BytesIO(data)

    def nothing(*_: Any) -> Any:
        raise ValueError("A storage where none belongs")

    def load() -> Any:
        return _Unpickler(stream, nothing).load()

    # A single pickle, harmless or not, has nothing after it.
    if load() != _LEGACY_MAGIC:
        raise ValueError(f"{path} is no PyTorch file: it does not begin with PyTorch's mark")
    if load() != _LEGACY_PROTOCOL:
        raise ValueError(f"{path} is of an unknown version of PyTorch's format")
    load()  # The sizes of types on the machine that wrote it.
    kinds: dict[str, tuple[str, int]] = {}

    def note(kind: str, key: str, count: int) -> Any:
        kinds[key] = (kind, count)
        return _Storage(kind, b"")

    # Read twice: the storages that this pickle names stand behind it.
    tensors = stream.tell()
    _Scanner(stream, note).load()
    keys = load()
    position = stream.tell()
    storages: dict[str, _Storage] = {}
    for key in keys:
        kind, count = kinds[str(key)]
        (stored,) = struct.unpack_from("<q", data, position)
        size = count * _STORAGES[kind].itemsize
        if stored != count or position + 8 + size > len(data):
            raise ValueError(f"{path} is truncated or damaged at its storage {key!r}")
        storages[str(key)] = _Storage(kind, data[position + 8 : position + 8 + size])
        position += 8 + size
    stream.seek(tensors)
    return _Unpickler(stream, lambda kind, key, count: storages[key]).load()
