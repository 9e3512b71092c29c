"""The file of a gallery: complete or refused after any damage."""

import json
import os
import signal
import struct
import time

import numpy as np
import pytest
from gallery_oracle import brute_force, random_faces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import start_python

from gfkeras.evaluation import GROUP_AWARE
from gfkeras.inference import Gallery
from gfkeras.inference.gallery import gallery_file

NAMES = ["Ann", "Bär", "日本", "a\tb\n", "x" * 300]


def made(storage="float32", groups=8):
    gallery = Gallery(storage=storage, metadata={"model": "abc"})
    gallery.add(NAMES, random_faces(5, 0, groups=groups))
    return gallery


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("groups", [8, None])
def test_a_loaded_gallery_equals_the_saved_one(tmp_path, storage, groups):
    path = made(storage, groups).save(tmp_path / "faces.gallery")
    again = Gallery(path)
    assert (again.names, again.storage, again.metadata) == (
        sorted(NAMES),
        storage,
        {"model": "abc"},
    )
    old, new = made(storage, groups).templates(), again.templates()
    for column in ("embedding", "group_feature", "photos", "length", "group_length"):
        np.testing.assert_array_equal(getattr(old, column), getattr(new, column))
    assert list(tmp_path.iterdir()) == [path]


def test_a_loaded_gallery_can_be_changed(tmp_path):
    path = made().save(tmp_path / "faces.gallery")
    before = path.read_bytes()
    gallery = Gallery.load(path)
    kept = [column.parts[0] for column in gallery._index.columns.values()]
    gallery.add("first", random_faces(1, 8))
    # Enrolling does not copy the rows that were read.
    now = [column.parts[0] for column in gallery._index.columns.values()]
    assert all(np.shares_memory(old, new) for old, new in zip(kept, now, strict=True))
    gallery.remove("Ann")
    gallery.update(["Bär", "new"], random_faces(2, 9))
    assert path.read_bytes() == before
    probes = random_faces(2, 3)
    found = gallery.search(probes, 3, GROUP_AWARE)
    assert found == brute_force(gallery, probes, 3, GROUP_AWARE)
    gallery.save()
    assert Gallery.load(path).search(probes, 3, GROUP_AWARE) == found


def test_an_empty_gallery_has_a_file_too(tmp_path):
    gallery = Gallery(tmp_path / "faces.gallery", storage="int8")
    gallery.save()
    again = Gallery(tmp_path / "faces.gallery")
    assert (len(again), again.storage) == (0, "int8")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_refused(tmp_path, data):
    path = tmp_path / "faces.gallery"
    content = bytearray(made("int8").save(path).read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"faces\.gallery"):
        Gallery.load(path)


def test_truncated_extended_and_other_files_are_refused(tmp_path):
    path = tmp_path / "faces.gallery"
    content = made().save(path).read_bytes()
    wrong = [content[:size] for size in (*range(0, len(content), 97), len(content) - 1)]
    wrong += [content + b"\0", content + content, b"<html>not found</html>" * 50]
    version = bytearray(content)
    struct.pack_into("<I", version, 8, 2)
    for case in wrong:
        path.write_bytes(case)
        with pytest.raises(ValueError, match=r"faces\.gallery"):
            Gallery(path)
    path.write_bytes(version)
    with pytest.raises(ValueError, match=r"version 1.*Received: version 2"):
        Gallery(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"'float32'.*'int8'"):
        Gallery(path, storage="int8")
    with pytest.raises(ValueError, match="which does not exist"):
        Gallery.load(tmp_path / "other.gallery")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = made().save(tmp_path / "faces.gallery")
    before = path.read_bytes()
    gallery = Gallery(path)
    gallery.remove("Ann")

    def full(column):
        yield b"some bytes"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gallery_file, "_chunks", full)
    with pytest.raises(OSError, match="No space left"):
        gallery.save()
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


WRITERS = """
import os, sys
import numpy as np
from gfkeras.inference import Embeddings, Gallery
path, parent, round = sys.argv[1], os.getpid(), 0
# One process after another writes, until it is killed; starting Python anew would take longest.
while pid := os.fork():
    os.waitpid(pid, 0)
while os.getppid() == parent:
    # Every person of one round has one direction: a mix of rounds would show.
    round += 1
    rows = np.full((2000, 512), 1, np.float32)
    rows[:, round % 512] = 1000
    gallery = Gallery(metadata={"round": str(round), "writer": str(os.getpid())})
    gallery.add([f"{round}-{i}" for i in range(2000)], Embeddings(rows))
    gallery.save(path)
"""


def whole_round(gallery):
    """Returns writer and round of a gallery. It fails if the gallery is a mix of two rounds."""
    number = int(gallery.metadata["round"])
    kept = gallery.templates()
    assert len(kept) == 2000
    assert {name.split("-")[0] for name in kept.names} == {str(number)}
    assert set(kept.embedding.argmax(axis=1).tolist()) == {number % 512}
    return int(gallery.metadata["writer"]), number


@pytest.mark.skipif(os.name != "posix", reason="kills processes")
@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_readers_see_the_old_or_the_new_and_a_killed_writer_leaves_a_whole_file(tmp_path, kills):
    path, rng, killed = tmp_path / "faces.gallery", np.random.default_rng(0), 0
    writers = start_python(WRITERS, str(path))
    try:
        while not path.exists():
            time.sleep(0.01)
        for _ in range(kills):
            old, seen = Gallery.load(path), set()
            while (found := whole_round(Gallery.load(path)))[0] == killed:
                time.sleep(0.01)
            end = time.monotonic() + rng.uniform(0.2, 0.5)
            while time.monotonic() < end or len(seen) < 2:
                seen.add(whole_round(Gallery.load(path)))
            killed = found[0]
            os.kill(killed, signal.SIGKILL)
            whole_round(Gallery.load(path))
            # The gallery was read before the file was replaced, so it still has the old content.
            whole_round(old)
    finally:
        writers.kill()


@pytest.mark.parametrize("key", ["offset", "crc32c", "shape"])
def test_a_header_with_infinity_is_refused(tmp_path, key):
    # With the right checksum, as whoever means harm writes it.
    path, value = tmp_path / "g.gallery", [float("inf")] if key == "shape" else float("inf")
    place = {"type": "<f4", "shape": [1], "offset": 0, "crc32c": 0, key: value}
    header = json.dumps({"description": {}, "columns": {"embedding": place}}).encode()
    prefix = gallery_file._PREFIX.pack(gallery_file.MAGIC, gallery_file.VERSION, len(header), 0)
    prefix = gallery_file._PREFIX.pack(
        gallery_file.MAGIC, gallery_file.VERSION, len(header),
        gallery_file._header_checksum(prefix, header),
    )  # fmt: skip
    path.write_bytes(prefix + header)
    with pytest.raises(ValueError, match="header cannot be read"):
        gallery_file.read_gallery_file(path)
