"""A gallery in Milvus Lite, for real: the same answers as in process, and nothing lost to kills."""

import numpy as np
import pytest
from gallery_oracle import adversarial_faces, brute_force, random_faces
from processes import start_python

from gfkeras.evaluation import COSINE, GROUP_AWARE, Similarity
from gfkeras.inference import Gallery
from gfkeras.inference.gallery import milvus_index

pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed (gfkeras[milvus])")

NAMES = ["Ann", 'O\'Hara "x"', "日本 \\ %", "tab\tand\nline", "x" * 500]


def part(faces, rows):
    return faces.take(rows)


@pytest.fixture
def location(tmp_path):
    return str(tmp_path / "faces.milvus.db")


def close(gallery):
    """Ends the process' own server of a database, so that another may open it."""
    gallery._index._client.close()
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(gallery.location)


def test_what_is_kept_is_what_was_given(location):
    faces = random_faces(7, 0)
    gallery = Gallery(location, metadata={"model": "abc"})
    memory = Gallery()
    for kept in (gallery, memory):
        kept.add(NAMES, part(faces, [0, 1, 2, 3, 4]))
        kept.update(["Ann", "new"], part(faces, [5, 6]))
        kept.remove(NAMES[3])
    assert gallery.names == memory.names
    assert len(gallery) == 5
    assert NAMES[1] in gallery
    assert NAMES[3] not in gallery
    old, new = memory.templates(), gallery.templates()
    for column in ("embedding", "group_feature", "photos", "length", "group_length"):
        np.testing.assert_array_equal(getattr(old, column), getattr(new, column))
    with pytest.raises(ValueError, match="not be in the gallery yet"):
        gallery.add("Ann", part(faces, [0]))
    with pytest.raises(ValueError, match="did you mean"):
        gallery.remove("Amn")
    with pytest.raises(ValueError, match="at most 2048 bytes"):
        gallery.add("é" * 1500, part(faces, [0]))
    assert gallery.save().name == "faces.milvus.db"
    with pytest.raises(ValueError, match="`path`"):
        gallery.save("elsewhere")
    close(gallery)
    again = Gallery.load(location)
    assert (again.names, again.metadata) == (memory.names, {"model": "abc"})
    again.remove(again.names)
    assert (len(again), again.widths) == (0, None)
    again.add("Ann", random_faces(1, 0, width=5, groups=None))
    assert again.search(random_faces(1, 1, width=5, groups=None))[0][0].name == "Ann"


@pytest.mark.parametrize("similarity", [COSINE, GROUP_AWARE, Similarity(5.0, 0.25)], ids=str)
@pytest.mark.parametrize("make", [random_faces, adversarial_faces])
def test_search_finds_what_the_index_in_process_finds(location, similarity, make):
    names = [f"p{(i * 7919) % 1009}" for i in range(300)]
    memory, gallery = Gallery(), Gallery(location)
    for kept in (memory, gallery):
        kept.add(names, make(300, 3))
    probes = make(4, 4)
    for k in (1, 10, 400):
        found = gallery.search(probes, k, similarity)
        assert found == memory.search(probes, k, similarity)
        assert found == brute_force(gallery, probes, k, similarity)


def test_beyond_the_longest_list_of_milvus(location, monkeypatch):
    monkeypatch.setattr(milvus_index, "_MOST_HITS", 50)
    gallery = Gallery(location)
    gallery.add([str(i) for i in range(300)], random_faces(300, 5))
    probes = random_faces(3, 6)
    assert gallery.search(probes, 80, GROUP_AWARE) == brute_force(gallery, probes, 80, GROUP_AWARE)


def test_what_cannot_be_opened(location, tmp_path):
    with pytest.raises(ValueError, match="`storage` must be 'float32'"):
        Gallery(location, storage="int8")
    with pytest.raises(ValueError, match="could not be opened"):
        Gallery("http://127.0.0.1:9", token="x")
    with pytest.raises(ValueError, match="not there"):
        Gallery.load(location)


ENROL = """
import sys
import numpy as np
from gfkeras.inference import Embeddings, Gallery
gallery = Gallery(sys.argv[1])
for i in range(int(sys.argv[2]), 10**6):
    row = np.zeros((1, 16), np.float32)
    row[0, i % 16] = i + 1
    row[0, (i + 1) % 16] = 1
    gallery.add(f"p{i}", Embeddings(row))
    print(i, flush=True)
"""


@pytest.mark.parametrize("kills", [1, pytest.param(15, marks=pytest.mark.slow)])
def test_a_killed_process_loses_nobody_who_was_acknowledged(location, kills):
    rng, start = np.random.default_rng(0), 0
    for _ in range(kills):
        process = start_python(ENROL, location, str(start))
        acknowledged = process.lines_until(lambda lines: len(lines) > 3)
        acknowledged += process.killed_after(rng.uniform(0, 0.5))
        last = int(acknowledged[-1])
        gallery = Gallery(location)
        assert set(gallery.names) >= {f"p{i}" for i in range(last + 1)}
        assert gallery.template(f"p{last}").embedding.argmax() == last % 16
        start = last + 2
        for name in (f"p{last + 1}",):
            if name in gallery:
                gallery.remove(name)
        gallery.add(f"p{last + 1}", random_faces(1, 0, groups=None))
        close(gallery)


def test_a_database_that_another_process_has_open_is_said_to_be(location):
    process = start_python(ENROL, location, "0")
    process.lines_until(lambda lines: len(lines) > 0)
    with pytest.raises(ValueError, match="does another process have it open"):
        Gallery(location)
    process.kill()
