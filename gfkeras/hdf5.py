"""Safe reading of HDF5 files from unknown sources.

An HDF5 file can refer to other files: with external links, as the storage of a data set, or as
sources of a virtual data set. A data set can also promise, or unpack to, any number of bytes. Such
files are refused.
"""

import contextlib
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5s, h5t, h5z

from gfkeras.archives import require_bounded

_KINDS = "biuf"
# Signature of a heap, which contains values such as texts. There is only one version.
_HEAP = b"GCOL\x01"
_FILTERS = (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32)


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike[str], content: BinaryIO | None = None) -> Iterator[h5py.File]:
    """Checks an HDF5 file and opens it for reading.

    Args:
        path: the file, or the archive that contains it.
        content: the content of the file, if it is in an archive.

    Raises:
        ValueError: if the file refers to other files or promises too many bytes.
        OSError: if HDF5 cannot open the file.
    """
    path = Path(path)
    with h5py.File(content or path, "r") as file:
        with contextlib.nullcontext(content) if content else path.open("rb") as opened:
            _check(file, path, path.stat().st_size, opened)
        yield file


def _check(file: h5py.File, path: Path, size: int, content: BinaryIO) -> None:
    """Checks all groups and data sets before any of them is read."""
    promised, longest = 0, _largest_heap(content, path)
    root = h5g.open(file.id, b"/")
    groups, seen = [(root, "")], {h5o.get_info(root).addr}
    _check_attributes(root, path, size, longest)
    while groups:
        group, prefix = groups.pop()
        for name in group:
            place = f"{prefix}/{name.decode('utf-8', 'replace')}"
            if group.links.get_info(name).type != h5l.TYPE_HARD:
                raise _refused(path, place, "is a link that leads elsewhere")
            found = h5o.get_info(group, name)
            if found.type == h5o.TYPE_DATASET:
                # A data set with several names is counted each time, because it is read each time.
                dataset = h5d.open(group, name)
                promised += _promised(dataset, path, place)
                require_bounded(path, promised, size)
                _check_attributes(dataset, path, size, longest)
            elif found.type == h5o.TYPE_GROUP and found.addr not in seen:
                # Hard links can form a cycle, so each group is visited once.
                seen.add(found.addr)
                inner = h5g.open(group, name)
                _check_attributes(inner, path, size, longest)
                groups.append((inner, place))


def _check_attributes(
    thing: h5g.GroupID | h5d.DatasetID, path: Path, size: int, longest: int
) -> None:
    """Bounds attributes, which are read whole: thousands of texts can be one long text."""
    for number in range(h5a.get_num_attrs(thing)):
        attribute = h5a.open(thing, index=number)
        kind, space = attribute.get_type(), attribute.get_space()
        is_empty = space.get_simple_extent_type() == h5s.NULL
        count = 0 if is_empty else space.get_simple_extent_npoints()
        plain = kind.get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM) or (
            kind.get_class() == h5t.STRING and not kind.is_variable_str()
        )
        require_bounded(path, count * (kind.get_size() if plain or count < 2 else longest), size)


def _largest_heap(file: BinaryIO, path: Path) -> int:
    """Returns the size of the largest heap, which contains values of variable length.

    HDF5 walks over the values of a heap by their sizes. It never ends at free space of size 0.
    """
    places, before, rest = [], 0, b""
    file.seek(0)
    while chunk := file.read(1 << 24):
        block = rest + chunk
        place = block.find(_HEAP)
        while 0 <= place <= len(block) - 16:
            size = int.from_bytes(block[place + 8 : place + 16], "little")
            places.append((before - len(rest) + place, size))
            place = block.find(_HEAP, place + 1)
        before, rest = before + len(chunk), block[-15:]
    for start, size in places:
        at, end = start + 16, min(start + size, before)
        while at + 16 <= end:
            file.seek(at)
            index, _, length = struct.unpack("<H6sQ", file.read(16))
            # The size of free space includes its header. Values are padded to 8 bytes.
            step = 16 + -(-length // 8) * 8 if index else length
            if not step:
                raise _refused(path, "/", "has a damaged heap")
            at += step
    return min(max((size for _, size in places), default=0), before)


def _promised(dataset: h5d.DatasetID, path: Path, place: str) -> int:
    """Returns the bytes that a data set needs in memory. Raises ValueError if it is refused."""
    made = dataset.get_create_plist()
    # This comes before the shape: to find the shape of a virtual data set, HDF5 opens its sources.
    if made.get_layout() == h5d.VIRTUAL:
        raise _refused(path, place, "is a virtual data set, which reads other files")
    if made.get_external_count():
        raise _refused(path, place, "has its numbers in another file")
    if np.dtype(dataset.dtype).kind not in _KINDS:
        raise _refused(path, place, f"has {dataset.dtype} instead of numbers")
    width = dataset.dtype.itemsize
    whole = math.prod(dataset.shape or (1,)) * width
    if made.get_layout() != h5d.CHUNKED:
        return whole
    chunk = math.prod(made.get_chunk()) * width
    require_bounded(path, max(whole, chunk), path.stat().st_size)
    filters = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
    if any(each not in _FILTERS for each in filters):
        raise _refused(path, place, "is not compressed by gzip but by another filter")
    if h5z.FILTER_DEFLATE in filters:
        _check_chunks(dataset, filters, chunk, path, place)
    return max(whole, chunk)


def _check_chunks(
    dataset: h5d.DatasetID, filters: list[int], chunk: int, path: Path, place: str
) -> None:
    """Raises ValueError if a chunk unpacks to more bytes than its shape allows.

    HDF5 does not check this: it unpacks the whole chunk.
    """
    for number in range(dataset.get_num_chunks()):
        mask, packed = dataset.read_direct_chunk(dataset.get_chunk_info(number).chunk_offset)
        if filters[-1] == h5z.FILTER_FLETCHER32 and not mask >> (len(filters) - 1) & 1:
            packed = packed[:-4]
        if mask >> filters.index(h5z.FILTER_DEFLATE) & 1:
            continue
        # A checksum that was added before compression makes a chunk four bytes longer.
        if len(zlib.decompressobj().decompress(packed, chunk + 5)) > chunk + 4:
            raise _refused(path, place, "unpacks to more than it promises")


def _refused(path: Path, place: str, reason: str) -> ValueError:
    return ValueError(f"{path} is refused: {place!r} {reason}")
