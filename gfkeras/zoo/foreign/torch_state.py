"""Safe reading of the tensors in a PyTorch file without PyTorch.

A `.pt` file is a pickle, and loading a pickle can call any function that it names. This reader
allows only the few functions that build a tensor. Anything else is an error.
"""

import io
import math
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from gfkeras.archives import ROOM, open_archive, read_member
from gfkeras.errors import reading
from gfkeras.files import PathLike

# From PyTorch's storages to NumPy types. bfloat16 is the upper half of float32.
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
# torch.serialization.MAGIC_NUMBER, at the beginning of files before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_DIMENSIONS = 16
# Limits against pickles that never end or fill the memory. A state dict of a thousand tensors takes
# about 50,000 reads of a few bytes.
_MAX_READS = 1_000_000
_MAX_PICKLE = 64 << 20
# Tensors can share a storage (tied weights), but their total size must be below this multiple of
# the stored bytes.
_MAX_TIMES = 4


def is_torch(data: bytes) -> bool:
    """Whether a file that begins with `data` can be a file of `torch.save`."""
    return data[:4] == b"PK\x03\x04" or data[:1] == b"\x80"


def read_torch_state(path: PathLike) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict by name, in the order of the file.

    The file was written by `torch.save(model.state_dict(), path)`, or is a checkpoint that contains
    one state dict, for example under "state_dict" or "model".

    Raises ValueError if the file is damaged, not a PyTorch file, or a pickle of anything besides
    tensors. No code in it is run.
    """
    path = Path(path)
    with reading(path, "a PyTorch file"):
        try:
            loaded = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
            return _state_dict(loaded, path)
        except _Refused as error:
            raise ValueError(
                f"{path} is refused: {error}. A file of weights must have only tensors. No code in "
                "it was run"
            ) from error


def _state_dict(loaded: Any, path: Path) -> dict[str, np.ndarray]:
    if isinstance(loaded, dict):
        tensors = {name: value for name, value in loaded.items() if type(value) is _Tensor}
        if tensors:
            stored = {id(each.storage): each.storage.values.nbytes for each in tensors.values()}
            needed = sum(each.bytes for each in tensors.values())
            if needed > max(ROOM // 2, _MAX_TIMES * sum(stored.values())):
                raise _Refused("its tensors are many times as large as its stored data")
            return {str(name): value.array() for name, value in tensors.items()}
        inner = [value for value in loaded.values() if isinstance(value, dict)]
        found = [value for value in inner if any(type(v) is _Tensor for v in value.values())]
        if len(found) == 1:
            return _state_dict(found[0], path)
    keys = f" with {sorted(map(str, loaded))[:5]}" if isinstance(loaded, dict) else ""
    raise ValueError(
        f"{path} must have one state dict of names and tensors, as "
        f"torch.save(model.state_dict(), ...) writes it. Received: a {type(loaded).__name__}{keys}"
    )


class _Refused(Exception):
    """The pickle asks for something that tensors do not need."""


class _Storage:
    """The numbers of one or more tensors."""

    def __init__(self, kind: str, data: bytes):
        self.kind = kind
        dtype = _STORAGES[kind]
        self.values = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)


class _Tensor:
    """A tensor: a part of a storage, with shape and strides."""

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any):
        if type(storage) is not _Storage or type(size) is not tuple or type(stride) is not tuple:
            raise TypeError("a tensor without storage, shape or strides")
        if any(type(n) is not int or not 0 <= n < 1 << 62 for n in (offset, *size, *stride)):
            raise ValueError("a tensor's offset, shape or stride is not a number of at least 0")
        if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
            raise ValueError("a tensor's shape does not fit its strides")
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride
        reach = 1
        for step, side in sorted(zip(stride, size, strict=True)):
            # Overlapping entries would let a small file make a large tensor.
            if side > 1 and step < reach and 0 not in size:
                raise ValueError(f"a tensor of shape {size} and strides {stride} overlaps itself")
            reach += (side - 1) * step
        values = storage.values
        if 0 not in size and offset + reach > values.size:
            raise ValueError(f"a tensor of shape {size} reaches beyond {values.size} numbers")

    @property
    def bytes(self) -> int:
        return 0 if 0 in self.size else math.prod(self.size) * self.storage.values.itemsize

    def array(self) -> np.ndarray:
        values = self.storage.values
        if not self.bytes:
            return np.zeros([min(side, 1) for side in self.size], values.dtype)
        strides = [step * values.itemsize for step in self.stride]
        view = np.lib.stride_tricks.as_strided(
            values[self.offset :], self.size, strides, writeable=False
        )
        if self.storage.kind == "BFloat16Storage":
            return (view.astype("<u4") << np.uint32(16)).view("<f4")
        return np.ascontiguousarray(view)


class _Table(dict[Any, Any]):
    """A dictionary that ignores attributes. PyTorch sets `_metadata` on a state dict."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Name:
    """A function that a pickle can call by name but not change."""

    __slots__ = ("_made",)

    def __init__(self, made: Callable[..., Any]):
        self._made = made

    def __call__(self, *arguments: Any) -> Any:
        return self._made(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused("its pickle sets attributes")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Name(lambda: _Table()),
    ("torch._utils", "_rebuild_tensor_v2"): _Name(_Tensor),
    ("torch._utils", "_rebuild_tensor"): _Name(_Tensor),
    ("torch._utils", "_rebuild_parameter"): _Name(lambda data, *_: data),
    ("torch", "Size"): _Name(tuple),
    **{("torch", name): name for name in _STORAGES},
}
_OPCODES = re.compile(
    "PROTO|FRAME|STOP|POP(_MARK)?|MARK|NONE|NEWTRUE|NEWFALSE|(BIN)?INT[12]?|LONG1?|(BIN)?FLOAT|"
    "((SHORT_)?BIN)?STRING|((SHORT_)?BIN)?UNICODE8?|(SHORT_)?BINBYTES8?|(EMPTY_)?(LIST|TUPLE|DICT)|"
    "TUPLE[123]|APPENDS?|SETITEMS?|((LONG_)?BIN)?(PUT|GET)|MEMOIZE|(STACK_)?GLOBAL|REDUCE|BUILD|"
    "(BIN)?PERSID"
)


class _Counted(io.BytesIO):
    """The bytes of a pickle, with a limit on the number of reads."""

    left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {_MAX_READS:,} instructions")
        return super().read(size)


# The pure Python version of pickle.Unpickler. Its memo is a dictionary, so a large index in a file
# needs no memory, and its table of instructions can be reduced.
_Python: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Unpickler(_Python):  # type: ignore[misc]
    """Unpickles state dicts only: other instructions and names are errors."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        ord(each.code): _Python.dispatch[ord(each.code)]
        for each in pickletools.opcodes
        if _OPCODES.fullmatch(each.name)
    }

    def __init__(self, file: Any, storages: Any):
        super().__init__(file, encoding="utf-8")
        self._storage = storages

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"its pickle asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        if type(pid) is not tuple or len(pid) < 5 or pid[0] != "storage":
            raise ValueError("a storage has an unknown form")
        _, kind, key, _, count = pid[:5]
        if type(kind) is not str or kind not in _STORAGES or type(count) is not int or count < 0:
            raise ValueError("a storage has an unknown kind")
        return self._storage(kind, _key(key), count)

    def load_frame(self) -> None:
        # Skip the frame, which would read many instructions at a time without counting them.
        self.read(8)

    def load_reduce(self) -> None:
        if type(self.stack[-2]) is not _Name or type(self.stack[-1]) is not tuple:
            raise _Refused("its pickle calls an object that is not a function")
        super().load_reduce()

    def load_build(self) -> None:
        if type(self.stack[-2]) not in (_Name, _Table):
            raise _Refused("its pickle sets attributes")
        super().load_build()

    def load_setitem(self) -> None:
        _key(self.stack[-2])
        super().load_setitem()

    def load_setitems(self) -> None:
        for key in self.stack[::2]:
            _key(key)
        super().load_setitems()

    def load_dict(self) -> None:
        for key in self.stack[::2]:
            _key(key)
        super().load_dict()

    for _run in (load_frame, load_reduce, load_build, load_setitem, load_setitems, load_dict):
        _place = getattr(pickle, _run.__name__.removeprefix("load_").upper())
        dispatch[_place[0]] = _run
    del _run, _place


class _Scanner(_Unpickler):
    """Collects the storages that a pickle names, without building tensors."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return _Name(lambda *_: None) if module == "torch._utils" else found


def _key(key: Any) -> str | int:
    """Returns a key of a dictionary, which must be text or a number.

    Hashing deeply nested tuples could crash the process.
    """
    if type(key) not in (str, int):
        raise ValueError(f"a {type(key).__name__} instead of a name")
    return cast("str | int", key)


def _read_zip(path: Path) -> Any:
    """Reads the format since PyTorch 1.6: a zip archive with one member per storage."""
    with open_archive(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError(
                f"{path} must be a zip archive of PyTorch with one data.pkl. "
                f"Received: {len(names)} of them (TorchScript archives contain code and are not "
                "read)"
            )
        folder = names[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in archive.namelist():
            raise ValueError(
                f"{path} is a TorchScript archive, which contains code. Expected a state dict, as "
                "torch.save(model.state_dict(), ...) writes it"
            )
        order = f"{folder}byteorder"
        if order in archive.namelist() and read_member(archive, order).strip() != b"little":
            raise ValueError(f"{path} was written on a big-endian machine, which is not supported")
        read: dict[str, _Storage] = {}

        def storage(kind: str, key: str | int, count: int) -> _Storage:
            if str(key) not in read:
                read[str(key)] = _Storage(kind, read_member(archive, f"{folder}data/{key}"))
            return read[str(key)]

        if archive.getinfo(names[0]).file_size > _MAX_PICKLE:
            raise ValueError(f"{path} is refused: a pickle of more than {_MAX_PICKLE:,} bytes")
        return _Unpickler(_Counted(read_member(archive, names[0])), storage).load()


def _read_legacy(path: Path) -> Any:
    """Reads the format before PyTorch 1.6: several pickles, then the storages."""
    data = path.read_bytes()
    stream = _Counted(data)

    def nothing(*_: Any) -> Any:
        raise ValueError("a storage in the wrong place")

    # Any other pickle does not begin with this number.
    if _Unpickler(stream, nothing).load() != _LEGACY_MAGIC:
        raise ValueError(f"{path} is not a PyTorch file: it does not begin with PyTorch's mark")
    if _Unpickler(stream, nothing).load() != _LEGACY_PROTOCOL:
        raise ValueError(f"{path} has an unknown version of PyTorch's format")
    _Unpickler(stream, nothing).load()  # Skip the sizes of types on the machine that wrote it.
    kinds: dict[str, tuple[str, int]] = {}

    def note(kind: str, key: str | int, count: int) -> Any:
        kinds[str(key)] = (kind, count)

    # The storages come after the pickle that names them, so this pickle is read twice.
    tensors = stream.tell()
    _Scanner(stream, note).load()
    keys = _Unpickler(stream, nothing).load()
    position = stream.tell()
    storages: dict[str, _Storage] = {}
    for key in keys:
        kind, count = kinds[str(_key(key))]
        (stored,) = struct.unpack_from("<q", data, position)
        size = count * _STORAGES[kind].itemsize
        if stored != count or position + 8 + size > len(data):
            raise ValueError(f"{path} is truncated or damaged at its storage {key!r}")
        storages[str(key)] = _Storage(kind, data[position + 8 : position + 8 + size])
        position += 8 + size
    stream.seek(tensors)
    return _Unpickler(stream, lambda kind, key, count: storages[str(key)]).load()
